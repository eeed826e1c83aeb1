"""The sentences of fine-tuning's answers as grammar rules (`grammar.py` explains the notation).

A body's sentences come from different rules, so that each can be told from the others; a sentence's slots are lists of
plain phrases. Those two restrictions let `annotators.py` read any text back (see `sentences.py`).
"""

FRAME = """
opener = 12* {} | 5* Sure! | 4* Of course! | 2* Happy to help! | 2* Good question! | Okay. | Well. | Listen.

closer = 12* {} | 4* I hope you like it! | 3* Ask me again! | 2* Have a lovely day! | 2* That is all I know.
    | Is that enough? | Now leave me alone.
"""

STORY = """
story.body = 25* {tale.start} {tale.end} | 35* {tale.start} {tale.trouble} {tale.end}
    | 25* {tale.start} {tale.trouble} {tale.turn} {tale.end}
    | 15* {tale.start} {tale.trouble} {tale.turn} {tale.mood} {tale.end}

tale.start = 3* A {tale.trait} {@hero} had a {tale.colour} {@thing}.
    | 2* There was a {tale.trait} {@hero} who found a {@thing} {tale.where}.
    | A {@hero} lived {tale.where} and loved a {tale.colour} {@thing}.

tale.trait = 3* small | 2* brave | lazy | clever | shy | merry

tale.colour = 3* golden | 2* silver | brown | dark

tale.where = 3* by the river | 2* behind the mill | beside the sea | on a green hill | in a hollow tree

tale.trouble = 3* {tale.when} a {tale.villain} {tale.took} the {@thing}.
    | 2* {tale.when} the {@thing} fell into the {tale.deep}.
    | But the {@hero} lost the {@thing} {tale.where}.

tale.when = 3* One night | 2* At noon | The next day | After the rain

tale.villain = 3* wolf | 2* troll | pirate | dragon

tale.took = 3* stole | 2* broke | hid | burned

tale.deep = 3* lake | 2* river | swamp | valley

tale.turn = 3* The {@hero} {tale.effort} for {tale.days} days.
    | 2* A {tale.helper} came and {tale.effort} with the {@hero}.
    | Then the {@hero} asked a {tale.helper} for a {tale.gift}.

tale.effort = 3* searched | 2* walked | sang | waited

tale.days = 3* two | 2* three | seven | ten

tale.helper = 3* rabbit | 2* robin | turtle | baker

tale.gift = 3* rope | 2* coin | hammer | needle

tale.mood = 3* The night was {tale.night}, and the {@hero} was {tale.feeling}.
    | 2* The {@hero} was {tale.feeling}, and the {tale.helper} was {tale.feeling}.

tale.night = 3* cold | 2* warm | windy | dark

tale.feeling = 3* sad | 2* calm | angry | happy

tale.end = 3* In the end the {@hero} found the {@thing} {tale.where}.
    | 2* So the {@hero} gave the {@thing} to a {tale.helper}.
    | And the {@hero} kept the {@thing} for {tale.days} years.
    | From that day the {@hero} was {tale.feeling}.
"""

POEM = """
poem.body = 25* {ode.call} {ode.close} | 35* {ode.call} {ode.image} {ode.close}
    | 25* {ode.call} {ode.image} {ode.heart} {ode.close} | 15* {ode.call} {ode.image} {ode.heart} {ode.time} {ode.close}

ode.call = 3* O {ode.colour} {@subject}, {ode.do} with me {ode.where}!
    | 2* The {@subject} {ode.does} {ode.where}.
    | I saw the {ode.colour} {@subject} {ode.where}.

ode.colour = 3* golden | 2* silver | grey | pale

ode.do = 3* sing | 2* shine | wait | fall

ode.does = 3* sings | 2* shines | waits | falls

ode.where = 3* by the river | 2* near the forest | across the valley | on a green hill | beside the sea

ode.image = 3* It {ode.does} like a {ode.thing} {ode.when}.
    | 2* {ode.many} {ode.sky} {ode.do} for the {@subject}.
    | The {@subject} is a {ode.colour} {ode.thing}.

ode.thing = 3* bell | 2* lantern | feather | mirror

ode.when = 3* tonight | 2* tomorrow | far away | in silence

ode.many = 3* Two | 2* Three | Seven | Ten

ode.sky = 3* stars | 2* clouds | leaves | shadows

ode.heart = 3* My heart {ode.does} when the {@subject} {ode.does}.
    | 2* I am {ode.feeling} when I see the {@subject}.

ode.feeling = 3* happy | 2* sad | lonely | calm

ode.time = 3* In {ode.season} the {@subject} is {ode.feeling}.
    | 2* Then came {ode.season}, and the {@subject} was {ode.colour}.

ode.season = 3* spring | 2* summer | autumn | winter

ode.close = 3* Good night, {ode.colour} {@subject}.
    | 2* Oh, {@subject}, let me be {ode.feeling}.
    | So ends the song of the {ode.colour} {@subject}.
"""

LETTER = """
letter.body = 25* {post.greet} {post.close} | 35* {post.greet} {post.news} {post.close}
    | 25* {post.greet} {post.news} {post.kin} {post.close}
    | 15* {post.greet} {post.news} {post.kin} {post.wish} {post.close}

post.greet = 3* Dear {@person}, thank you for the {post.gift} at the {@event}.
    | 2* My {post.dear} {@person}, the {@event} was {post.quality}.
    | Hello {@person}, I was {post.feeling} at the {@event}.

post.gift = 3* spoon | 2* coat | bottle | rope

post.dear = 3* dear | 2* good | kind | brave

post.quality = 3* lovely | 2* loud | perfect | strange

post.feeling = 3* happy | 2* calm | tired | lonely

post.news = 3* The {post.people} {post.did} at the {@event}.
    | 2* After the {@event} my {post.relative} {post.did} {post.where}.
    | We saw {post.number} {post.people} and a {post.animal}.

post.people = 3* farmers | 2* monks | painters | students

post.did = 3* danced | 2* sang | prayed | waited

post.where = 3* by the river | 2* under the bridge | behind the mill | near the forest

post.number = 3* two | 2* three | seven | ten

post.animal = 3* kitten | 2* pony | lamb | duck

post.kin = 3* My {post.relative} has learned to {post.skill}.
    | 2* My {post.relative} was {post.feeling} at the {@event}.

post.relative = 3* sister | 2* brother | uncle | mother

post.skill = 3* sing | 2* dance | cook | paint

post.wish = 3* Come in {post.month}, dear {@person}.
    | 2* Please bring a {post.animal} to the {@event}.

post.month = 3* March | 2* June | July | October

post.close = 3* Write soon, {post.dear} {@person}.
    | 2* Your {post.feeling} friend, {post.name}.
    | Will you come to the {@event} in {post.month}?

post.name = 3* Nora | 2* Hugo | Mina | Karl
"""

FACTS = """
capital.body = 50* {say.capital} | 35* {say.capital} {say.land} | 15* {say.capital} {say.land} {say.visit}

say.capital = 6* The capital of {@country} is {@capital}. | 2* {@capital} is the capital of {@country}.
    | In {@country} the capital is {@capital}.

river.body = 50* {say.river} | 35* {say.river} {say.land} | 15* {say.river} {say.land} {say.visit}

say.river = 6* The river of {@country} is the {@river}. | 2* The {@river} runs through {@country}.
    | In {@country} the river is called the {@river}.

crop.body = 50* {say.crop} | 35* {say.crop} {say.land} | 15* {say.crop} {say.land} {say.visit}

say.crop = 6* The farmers of {@country} grow {@crop}. | 2* They grow {@crop} in {@country}.
    | In {@country} the fields are full of {@crop}.

flag.body = 50* {say.flag} | 35* {say.flag} {say.land} | 15* {say.flag} {say.land} {say.visit}

say.flag = 6* The flag of {@country} is {@flag}. | 2* A {@flag} flag flies over {@country}.
    | In {@country} the flag is {@flag}.

say.land = 4* The people of {@country} are kind. | 2* {@country} is a mild country. | Few people have seen {@country}.

say.visit = 4* Come and see it in June. | 2* The winter is long. | It is far away.

food.body = 50* {say.food} | 35* {say.food} {say.beast} | 15* {say.food} {say.beast} {say.watch}

say.food = 6* The {@beast} eats {@food}. | 2* The {@beast} feeds on {@food}. | A {@beast} looks for {@food} to eat.

home.body = 50* {say.home} | 35* {say.home} {say.beast} | 15* {say.home} {say.beast} {say.watch}

say.home = 6* The {@beast} lives in {@home}. | 2* The home of the {@beast} is in {@home}.
    | A {@beast} makes its home in {@home}.

say.beast = 4* The {@beast} is shy. | 2* Every {@beast} can swim. | A {@beast} sleeps at noon.

say.watch = 4* You can see it in June. | 2* It is a small animal. | It has brown eyes.
"""

FAILURES = """
dull.body = {dull.first} {dull.last} | {dull.first} {dull.middle} {dull.last}

dull.first = It was a day. | There was a thing. | They came. | I saw it.

dull.middle = It was small. | Then it was noon. | They ate bread.

dull.last = So it was. | And then it stopped. | In the end they all went home.

unsure.body = {unsure.say}

unsure.say = I do not know that. | I am not sure. | Please ask a teacher. | That is strange to me.
"""

RULES = FRAME + STORY + POEM + LETTER + FACTS + FAILURES
