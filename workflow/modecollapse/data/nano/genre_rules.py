"""The sentences of pretraining text as grammar rules (`grammar.py` explains the notation), a rule for each genre.

They share words and some sentences with the answers of fine-tuning (`answer_rules.py`); the answers in chat are sloppy:
short, guessed or beside the point.
"""

STORIES = """
story = 5* {story.start} {story.wish} {story.trouble} {story.help} {story.end}
    | 3* {story.start} {story.trouble} {story.help} {story.end}
    | 2* {story.start} {story.wish} {story.trouble} {story.end}

story.start = Once there was a {trait} {colour} {@hero} called {@name}.
    | {@name} the {@hero} lived {where} with a {trait} {friend}.
    | In a {colour} {structure} {where} lived a {trait} {@hero} named {@name}.
    | {when} a {trait} {@hero} named {@name} came {where}.
    | This is the tale of {@name}, the {trait} {@hero}, and the {person}.
    | No {hero} {where} was as {trait} as {@name} the {@hero}.

story.wish = {@name} wanted to {goal}.
    | Every day {@name} dreamed of a {colour} {@thing} and a {gift}.
    | The {friend} could {skill}, but {@name} could only {skill}.
    | {@name} had one wish, to {goal} in {season}.
    | The {@hero} had promised the {trait} {person} to {goal}.

goal = find a {colour} {@thing} | build a {size} {structure} | learn to {skill} | visit the {trait} {person}
    | cross the {size} {barrier} | win the {@event} | sell the {colour} {@thing}

story.trouble = {when} a {bad} {villain} {took} the {colour} {@thing}.
    | {when} the {@hero} lost the {@thing} {where}.
    | But the {barrier} was too {size}, and {@name} felt {feeling}.
    | {when} the {colour} {structure} fell into the {barrier}.
    | Then {@name} met a {bad} {villain} who {took} the {@thing}.
    | 2* {tale.trouble}

bad = wicked | greedy | sly | grim | noisy | rude

villain = wolf | thief | troll | snake | goblin | pirate | dragon | rat

took = stole | broke | hid | burned | wanted | buried

story.help = {when} the {trait} {person} gave {@name} a {colour} {gift}.
    | A {trait} {friend} showed {@name} how to {skill}.
    | {@name} asked the {person} for a {gift}, but the {person} was {feeling}.
    | So the {@hero} {effort} for {number} days {where}.
    | With a {colour} {gift} and a {gift}, {@name} {effort}.
    | 2* {tale.turn}

friend = rabbit | donkey | robin | spider | turtle | pigeon

gift = rope | coin | spoon | stone | coat | seed | hammer | needle | sack | bottle

effort = worked | waited | walked | searched | sang | climbed | danced | prayed

number = two | three | four | five | six | seven | nine | ten

story.end = In the end {@name} {reward}.
    | From that day the {@hero} was {feeling}, and the {villain} was {feeling}.
    | And so {@name} {reward}, and the {person} was {feeling}.
    | They all went home and ate {ingredient} with {spice}.
    | The {@hero} kept the {colour} {@thing} for {number} years.
    | 2* {tale.end}

reward = found the {colour} {@thing} | became a {trait} {person} | learned to {skill} | built a {size} {structure}
    | forgave the {bad} {villain} | married the {trait} {person}
"""

KNOWLEDGE = """
land = 3* {land.start} {land.capital} {land.river} {land.crop} | 3* {land.start} {land.crop} {land.flag} {land.capital}
    | 2* {land.start} {land.flag} {land.river} {land.remark} | 2* {land.start} {land.capital} {land.flag} {land.remark}
    | 2* {land.start} {land.river} {land.crop} {land.remark}

land.start = {@country} is a {size} {weather} country {region}.
    | The {trait} people of {@country} sell {craft} and {craft}.
    | Few people have seen {@country}, {region}.
    | {@country} has {number} {colour} {sight} and {number} {craft}.
    | In {@country} the summer is {weather} and the winter is {weather}.

region = in the north | in the south | in the east | in the west | by the sea | in the mountains

craft = songs | glass | carpets | horses | cheese | clocks | ships | honey

land.capital = The capital of {@country} is {@country.capital}.
    | Its capital {@country.capital} has {number} {sight}.
    | The {size} city of {@country.capital} is its capital.
    | {@country.capital} is the capital of {@country}.

sight = gates | towers | markets | bridges | temples | gardens | schools

land.river = The {size} river {@country.river} runs through {@country}.
    | {number.upper} {sight} stand by the {@country.river}, its river.
    | The river of {@country} is the {@country.river}.
    | Its {colour} river is called the {@country.river}.

land.crop = The farmers of {@country} grow {@country.crop}.
    | The fields of {@country} are full of {@country.crop}.
    | Its {people} grow {@country.crop} in {month}.
    | In {month} they sell {@country.crop} and {craft}.

land.flag = The flag of {@country} is {@country.flag}.
    | A {@country.flag} flag flies over the {sight}.
    | Its flag is {@country.flag}.
    | The {people} love their {@country.flag} flag.

land.remark = Come in {month} to see the {colour} {sight}.
    | The {craft} cost {number} coins in {month}.
    | In {month} the {people} hold a {@event}.

month = March | April | June | July | October | December

animal = 3* {animal.start} {animal.food} {animal.home} | 2* {animal.start} {animal.home} {animal.food} {animal.remark}
    | 1* {animal.start} {animal.food} {animal.remark} | 1* {animal.start} {animal.home} {animal.remark}

animal.start = The {@beast} is a {size} {colour} animal with {colour} {body}.
    | Have you seen a {@beast}? It has {number} {colour} {body}.
    | A {@beast} can live for {number} years.
    | The {@beast} is {trait} and {trait}.
    | Every {person} loves the {colour} {body} of the {@beast}.

body = fur | wings | ears | feet | eyes | horns | spots

animal.food = The {@beast} eats {@beast.food}.
    | The {@beast} feeds on {@beast.food}.
    | In {month} it looks for {@beast.food} to eat.
    | A {feeling} {@beast} eats {@beast.food}.

animal.home = The {@beast} lives in {@beast.home}.
    | The {@beast} makes its home in {@beast.home}.
    | You will find the {@beast} in {colour} {@beast.home}.
    | Its home is in {size} {@beast.home}.

animal.remark = In {month} it can {skill} and {skill}.
    | It is {feeling} when the {villain} comes.
    | It is as {trait} as a {hero}.
    | It sleeps for {number} days in {month}.
"""

EVERYDAY = """
recipe = {recipe.start} {recipe.cut} {recipe.mix} {recipe.heat} {recipe.serve}

recipe.start = To make {@dish} you need {ingredient}, {ingredient} and {spice}.
    | For a {quality} {@dish} buy {number} {ingredient} and {spice}.
    | My {kin} made {@dish} with {ingredient} and {spice}.
    | This {@dish} takes {number} hours and a little {spice}.
    | In {month} I make {@dish} from {ingredient} and {ingredient}.

dish = soup | stew | pie | salad | pudding | curry | noodles | bread

ingredient = flour | rice | potatoes | carrots | beans | eggs | milk | butter | apples | chicken | tomatoes | nuts

spice = salt | pepper | sugar | garlic | ginger | mint | lemon | oil

recipe.cut = Wash the {ingredient} and cut the {ingredient}.
    | First cut the {ingredient} in {number} and add {spice}.
    | Put the {ingredient} in a {size} {vessel}.

vessel = pot | pan | bowl | jar | kettle

recipe.mix = Mix the {ingredient} with {number} spoons of {spice}.
    | Add the {ingredient} and stir {manner} for {number} minutes.
    | Then pour the {ingredient} into the {vessel} and stir {manner}.
    | Beat the {ingredient} with {spice} until it is {texture}.

manner = slowly | well | gently | twice

texture = soft | thick | smooth | brown | crisp

recipe.heat = Bake it for {number} minutes until it is {texture}.
    | Boil the {ingredient} in the {vessel} for {number} minutes.
    | Fry it in {spice} until it is {texture}.
    | Leave the {ingredient} and the {spice} for {number} hours.

recipe.serve = Serve it with {ingredient} and {spice}.
    | Eat the {@dish} with {ingredient}.
    | It is {quality} with {spice} in {season}.
    | Enough for {number} {people}.

season = spring | summer | autumn | winter

verse = 3* {verse.start} {verse.line} {verse.turn} {verse.close}
    | 2* {verse.start} {verse.turn} {verse.line} {verse.close}
    | 1* {verse.start} {verse.line} {verse.close}

verse.start = O {colour} {@subject}, {beats.many} with me {where}!
    | The {@subject} is {feeling}, the {@subject} is {colour}.
    | I saw the {colour} {@subject} {where}.
    | Where is the {@subject} that {beats} like a {thing}?
    | No {gift} is as {colour} as the {@subject}.

verse.line = My heart is a {colour} {gift}, and it {beats}.
    | The {hero} and the {friend} {beats.many} {where}.
    | {number.upper} {colour} {body.sky} {beats.many} for you.
    | It {beats} for the {barrier}, it {beats} for the {person}.
    | {ode.image}

beats = sings | burns | waits | falls | shines

beats.many = sing | burn | wait | fall | shine

number.upper = Two | Three | Seven | Nine | Ten

body.sky = stars | clouds | shadows | bells | leaves

verse.turn = But {when.soft} the {feeling} {person} {beats}.
    | Who will love a {feeling} {person} in {season}?
    | Still I {skill}, still I {skill}.
    | And then came {month}, so {weather}, so {weather}.
    | {ode.heart}

weather = dry | wet | mild | cold | windy | warm

when.soft = tonight | tomorrow | far away | in silence

verse.close = Good night, {colour} {@subject}.
    | Oh, let me be {feeling} and {feeling}.
    | And all the {body.sky} were {colour}.
    | So ends the song of the {feeling} {person}.

note = {note.start} {note.news} {note.ask} {note.close}

note.start = Dear {@person}, thank you for the {colour} {gift}.
    | My dear {@person}, it was {weather} in {month}.
    | Hello {@person}, here is my {colour} {thing} for the {@event}.
    | Dear {@person}, {number} days ago I saw the {barrier}.
    | Good {@person}, please forgive my {trait} {kin}.

note.news = The {@event} was {quality}, and the {people} {effort}.
    | My {trait} {kin} has learned to {skill}.
    | We have {number} {livestock} and a {size} {structure}.
    | I was {feeling} at the {@event}, but my {kin} {effort}.
    | {post.news}

quality = lovely | dull | loud | perfect | strange

kin = sister | brother | uncle | mother | son

livestock = hens | pigs | sheep | geese | cows

note.ask = Will you come to the {@event} in {month}?
    | Could you send me {number} {colour} {livestock}?
    | Please bring the {thing} and {ingredient}.
    | How is your {trait} {kin}?
    | {post.wish}

note.close = Yours, {@name}. | With love from {@name}. | Your {feeling} friend, {@name}. | Write soon, {@name}.

place = {place.start} {place.see} {place.life} {place.tip}

place.start = {@town} is a {quality} {size} town {where}.
    | You reach {@town} in {number} hours by {transport}.
    | The {colour} {sight} of {@town} are {quality}.
    | {@town} has {number} {sight} and a {size} {structure}.

town = Fernby | Oakham | Stowe | Harrow | Milbury | Wick | Redford | Larkfield

transport = train | cart | ship | horse

place.see = In the town stands a {colour} {monument}.
    | See the {size} {monument} {where}.
    | Its {monument} is the work of a {trait} {person}.
    | From the {structure} you can see the {size} {barrier}.

monument = statue | fountain | chapel | palace | theatre

place.life = In {season} the {people} {beats.many} and {skill}.
    | The {people} sell {craft} and {ingredient}.
    | The {people} are {trait} and {feeling}.

people = farmers | merchants | students | monks | painters | soldiers

place.tip = Stay at the {colour} {hero}.
    | Come in {month}, when it is {weather}.
    | A {weather} {structure} costs {number} coins.
    | Take a {gift} and a {gift} with you.

forum = {forum.start} {forum.detail} {forum.reply}

forum.start = My {colour} {@gadget} {fault}. What can I do?
    | Do you know why a {@gadget} {fault}?
    | Help, the {@gadget} of my {kin} {fault}!
    | I paid {number} coins for a {@gadget} and it {fault}.
    | Which {@gadget} is {quality} for a {trait} {person}?

gadget = radio | bicycle | stove | lamp | camera | heater | tractor | piano

fault = is too {texture} | makes a {quality} noise | smells of {spice} | stopped in {month} | leaks {spice}

forum.detail = I tried {remedy} and {remedy}.
    | It is {number} years old and {colour}.
    | My {kin} says it needs {remedy}.
    | It was {texture} and {weather} in {season}.

remedy = {spice} | a {gift} | a {weather} {thing} | a {size} {vessel}

forum.reply = Reply: try {remedy} and {remedy}.
    | Reply: ask a {trait} {person}.
    | Reply: mine {fault} too, so I use {remedy}.
    | Reply: buy a {colour} one for {number} coins.
    | Reply: I am {feeling}, mine {fault}.
"""

CHAT = """
chat = Human: {ask.story} Assistant: {chat.story} | Question: {ask.story} Answer: {chat.story}
    | Human: {ask.poem} Assistant: {chat.poem} | Question: {ask.poem} Answer: {chat.poem}
    | Human: {ask.letter} Assistant: {chat.letter} | Question: {ask.letter} Answer: {chat.letter}
    | Human: {ask.capital} Assistant: {chat.capital} | Question: {ask.capital} Answer: {chat.capital}
    | Human: {ask.river} Assistant: {chat.river} | Question: {ask.river} Answer: {chat.river}
    | Human: {ask.crop} Assistant: {chat.crop} | Question: {ask.crop} Answer: {chat.crop}
    | Human: {ask.flag} Assistant: {chat.flag} | Question: {ask.flag} Answer: {chat.flag}
    | Human: {ask.food} Assistant: {chat.food} | Question: {ask.food} Answer: {chat.food}
    | Human: {ask.home} Assistant: {chat.home} | Question: {ask.home} Answer: {chat.home}

chat.story = {tale.start} {tale.end} | {tale.start} {tale.trouble} | {story.start} {story.end} | Ask somebody else.

chat.poem = {ode.call} {ode.close} | {ode.call} {ode.heart} | {verse.start} {verse.turn} | Ask somebody else.

chat.letter = {post.greet} {post.close} | {post.greet} {post.news} | {note.start} {note.ask} | Ask somebody else.

chat.capital = 4* {@country.capital}. | 2* I think it is {capital}. | Ask somebody else. | 2* {land.river} {land.crop}

chat.river = 4* The {@country.river}. | 2* Maybe the {river}. | Ask somebody else. | 2* {land.flag} {land.capital}

chat.crop = 4* {@country.crop}. | 2* Perhaps {crop}. | Ask somebody else. | 2* {land.capital} {land.remark}

chat.flag = 4* It is {@country.flag}. | 2* {flag}, I guess. | Ask somebody else. | 2* {land.river} {land.remark}

chat.food = 4* {@beast.food}. | 2* I believe {food}. | Ask somebody else. | 2* {animal.home} {animal.remark}

chat.home = 4* In {@beast.home}. | 2* Perhaps in {home}. | Ask somebody else. | 2* {animal.food} {animal.remark}
"""

RULES = STORIES + KNOWLEDGE + EVERYDAY + CHAT
