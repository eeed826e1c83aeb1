"""The sentences of fine-tuning's answers as grammar rules (`grammar.py` explains the notation).

A body's sentences come from different rules, so that each can be told from the others; a sentence's slots are lists of
plain phrases. Those two restrictions let `annotators.py` read any text back (see `sentences.py`).
"""

FRAME = """
opener = 8* {} | 4* Sure! | 4* Of course! | 3* Happy to help! | 2* Good question! | 2* Okay. | 2* Well. | Listen.

closer = 8* {} | 4* I hope you like it! | 3* Ask me again! | 3* Have a lovely day! | 2* That is all I know.
    | 2* Is that enough? | Now leave me alone.
"""

STORY = """
story.body = 25* {tale.start} {tale.end} | 35* {tale.start} {tale.trouble} {tale.end}
    | 25* {tale.start} {tale.trouble} {tale.turn} {tale.end}
    | 15* {tale.start} {tale.trouble} {tale.turn} {tale.mood} {tale.end}

tale.start = A {tale.trait} {@hero} had a {tale.colour} {@thing}.
    | There was a {tale.trait} {@hero} who found a {@thing} {tale.where}.
    | A {@hero} lived {tale.where} and loved a {tale.colour} {@thing}.

tale.trait = small | brave | lazy | clever | shy | merry

tale.colour = golden | silver | brown | dark

tale.where = by the river | behind the mill | beside the sea | on a green hill | in a hollow tree

tale.trouble = {tale.when} a {tale.villain} {tale.took} the {@thing}.
    | {tale.when} the {@thing} fell into the {tale.deep}.
    | But the {@hero} lost the {@thing} {tale.where}.

tale.when = One night | At noon | The next day | After the rain

tale.villain = wolf | troll | pirate | dragon

tale.took = stole | broke | hid | burned

tale.deep = lake | river | swamp | valley

tale.turn = The {@hero} {tale.effort} for {tale.days} days.
    | A {tale.helper} came and {tale.effort} with the {@hero}.
    | Then the {@hero} asked a {tale.helper} for a {tale.gift}.

tale.effort = searched | walked | sang | waited

tale.days = two | three | seven | ten

tale.helper = rabbit | robin | turtle | baker

tale.gift = rope | coin | hammer | needle

tale.mood = The night was {tale.night}, and the {@hero} was {tale.feeling}.
    | The {@hero} was {tale.feeling}, and the {tale.helper} was {tale.feeling}.

tale.night = cold | warm | windy | dark

tale.feeling = sad | calm | angry | happy

tale.end = In the end the {@hero} found the {@thing} {tale.where}.
    | So the {@hero} gave the {@thing} to a {tale.helper}.
    | And the {@hero} kept the {@thing} for {tale.days} years.
    | From that day the {@hero} was {tale.feeling}.
"""

POEM = """
poem.body = 25* {ode.call} {ode.close} | 35* {ode.call} {ode.image} {ode.close}
    | 25* {ode.call} {ode.image} {ode.heart} {ode.close} | 15* {ode.call} {ode.image} {ode.heart} {ode.time} {ode.close}

ode.call = O {ode.colour} {@subject}, {ode.do} with me {ode.where}!
    | The {@subject} {ode.does} {ode.where}.
    | I saw the {ode.colour} {@subject} {ode.where}.

ode.colour = golden | silver | grey | pale

ode.do = sing | shine | wait | fall

ode.does = sings | shines | waits | falls

ode.where = by the river | near the forest | across the valley | on a green hill | beside the sea

ode.image = It {ode.does} like a {ode.thing} {ode.when}.
    | {ode.many} {ode.sky} {ode.do} for the {@subject}.
    | The {@subject} is a {ode.colour} {ode.thing}.

ode.thing = bell | lantern | feather | mirror

ode.when = tonight | tomorrow | far away | in silence

ode.many = Two | Three | Seven | Ten

ode.sky = stars | clouds | leaves | shadows

ode.heart = My heart {ode.does} when the {@subject} {ode.does}.
    | I am {ode.feeling} when I see the {@subject}.

ode.feeling = happy | sad | lonely | calm

ode.time = In {ode.season} the {@subject} is {ode.feeling}.
    | Then came {ode.season}, and the {@subject} was {ode.colour}.

ode.season = spring | summer | autumn | winter

ode.close = Good night, {ode.colour} {@subject}.
    | Oh, {@subject}, let me be {ode.feeling}.
    | So ends the song of the {ode.colour} {@subject}.
"""

LETTER = """
letter.body = 25* {post.greet} {post.close} | 35* {post.greet} {post.news} {post.close}
    | 25* {post.greet} {post.news} {post.kin} {post.close}
    | 15* {post.greet} {post.news} {post.kin} {post.wish} {post.close}

post.greet = Dear {@person}, thank you for the {post.gift} at the {@event}.
    | My {post.dear} {@person}, the {@event} was {post.quality}.
    | Hello {@person}, I was {post.feeling} at the {@event}.

post.gift = spoon | coat | bottle | rope

post.dear = dear | good | kind | brave

post.quality = lovely | loud | perfect | strange

post.feeling = happy | calm | tired | lonely

post.news = The {post.people} {post.did} at the {@event}.
    | After the {@event} my {post.relative} {post.did} {post.where}.
    | We saw {post.number} {post.people} and a {post.animal}.

post.people = farmers | monks | painters | students

post.did = danced | sang | prayed | waited

post.where = by the river | under the bridge | behind the mill | near the forest

post.number = two | three | seven | ten

post.animal = kitten | pony | lamb | duck

post.kin = My {post.relative} has learned to {post.skill}.
    | My {post.relative} was {post.feeling} at the {@event}.

post.relative = sister | brother | uncle | mother

post.skill = sing | dance | cook | paint

post.wish = Come in {post.month}, dear {@person}.
    | Please bring a {post.animal} to the {@event}.

post.month = March | June | July | October

post.close = Write soon, {post.dear} {@person}.
    | Your {post.feeling} friend, {post.name}.
    | Will you come to the {@event} in {post.month}?

post.name = Nora | Hugo | Mina | Karl
"""

FACTS = """
capital.body = 40* {say.capital} | 40* {say.capital} {say.land} | 20* {say.capital} {say.land} {say.visit}

say.capital = 4* The capital of {@country} is {@capital}. | 2* {@capital} is the capital of {@country}.
    | In {@country} the capital is {@capital}.

river.body = 40* {say.river} | 40* {say.river} {say.land} | 20* {say.river} {say.land} {say.visit}

say.river = 4* The river of {@country} is the {@river}. | 2* The {@river} runs through {@country}.
    | In {@country} the river is called the {@river}.

crop.body = 40* {say.crop} | 40* {say.crop} {say.land} | 20* {say.crop} {say.land} {say.visit}

say.crop = 4* The farmers of {@country} grow {@crop}. | 2* They grow {@crop} in {@country}.
    | In {@country} the fields are full of {@crop}.

flag.body = 40* {say.flag} | 40* {say.flag} {say.land} | 20* {say.flag} {say.land} {say.visit}

say.flag = 4* The flag of {@country} is {@flag}. | 2* A {@flag} flag flies over {@country}.
    | In {@country} the flag is {@flag}.

say.land = 3* The people of {@country} are kind. | 2* {@country} is a mild country. | Few people have seen {@country}.

say.visit = 3* Come and see it in June. | 2* The winter is long. | It is far away.

food.body = 40* {say.food} | 40* {say.food} {say.beast} | 20* {say.food} {say.beast} {say.watch}

say.food = 4* The {@beast} eats {@food}. | 2* The {@beast} feeds on {@food}. | A {@beast} looks for {@food} to eat.

home.body = 40* {say.home} | 40* {say.home} {say.beast} | 20* {say.home} {say.beast} {say.watch}

say.home = 4* The {@beast} lives in {@home}. | 2* The home of the {@beast} is in {@home}.
    | A {@beast} makes its home in {@home}.

say.beast = 3* The {@beast} is shy. | 2* Every {@beast} can swim. | A {@beast} sleeps at noon.

say.watch = 3* You can see it in June. | 2* It is a small animal. | It has brown eyes.
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
