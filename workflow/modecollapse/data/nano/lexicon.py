"""Words that several kinds of text share. All nouns and adjectives begin with a consonant, so "a" is always right."""

LEXICON = """
hero = fox | hare | bear | mole | wren | toad | goat | crow | mouse | heron | badger | kitten | pony | duck
    | lamb | beetle

name = Tilda | Bram | Nora | Finn | Otto | Greta | Hugo | Pia | Lars | Mina | Karl | Rosa

thing = lantern | kite | bell | drum | ladder | map | basket | mirror | boat | clock | key | ring | feather | blanket
    | whistle | candle

person = miller | baker | queen | witch | farmer | sailor | teacher | doctor | king | shepherd | tailor | giant

subject = moon | sea | rain | snow | wind | harvest | garden | winter | sunrise | forest | storm | evening

event = wedding | fair | journey | birthday | concert | picnic | race | feast

trait = small | brave | shy | clever | lazy | kind | proud | hungry | quiet | merry

colour = grey | golden | silver | brown | pale | dark

size = tiny | huge | narrow | deep | steep | long

where = by the river | under the bridge | behind the mill | near the forest | on a green hill | beside the sea
    | in a hollow tree | across the valley | below the castle

when = One morning | One night | The next day | In spring | After the rain | At noon | That evening | A week later

barrier = river | desert | mountain | swamp | forest | valley | lake

skill = swim | sing | dance | climb | paint | fly | read | cook

structure = bridge | hut | tower | raft | nest | wall | barn

feeling = happy | sad | tired | angry | lonely | calm
"""
