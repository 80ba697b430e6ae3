"""Instructions that need a given passage, and instructions that do not, written for this study.

`ITEMS` has twenty passages. With each come a question that only the passage can answer, and one
that anybody can answer without it; questions and answers of the two kinds are about equally long.
`instructions()` puts them together into three kinds of pairs of what a user says and what an
assistant answers:

    "needs the passage"            passage and the question about it
    "no passage"                   the general question alone
    "passage not needed"           the same passage and the general question

The first and the third have the same passages, so that length cannot tell them apart.
"""

from typing import NamedTuple


class Item(NamedTuple):
    """A passage, a question and answer about it, and a question and answer about something else."""

    passage: str
    asked: str
    answer: str
    general: str
    known: str


ITEMS = (
    Item(
        "The bakery on Mill Lane opens at six. Its owner, Hanna Berg, bakes rye bread on Tuesdays"
        " and gives what is left over to the school.",
        "What does the owner of the bakery do with the bread that is left over?",
        "She gives the bread that is left over to the school.",
        "Why does bread dough become larger when it is left in a warm room?",
        "The yeast makes gas, and the gas blows up the dough.",
    ),
    Item(
        "Room 14 has been moved to the second floor. Whoever has a seminar there on Friday should"
        " take the stairs behind the library, since the lift is being repaired.",
        "Which way should people take to the seminar on Friday, and why?",
        "They should take the stairs behind the library, since the lift is being repaired.",
        "Which gas do plants take from the air, and what do they need it for?",
        "They take carbon dioxide from the air, and they make sugar from it with light.",
    ),
    Item(
        "Our boat left the harbour at noon with five people and a dog. Near the lighthouse the"
        " engine stopped, and a fisherman called Tom pulled us back.",
        "Who pulled the boat back to the harbour after the engine had stopped?",
        "A fisherman called Tom pulled the boat back to the harbour.",
        "Who wrote the play about Romeo and Juliet, and in which country?",
        "William Shakespeare wrote the play about Romeo and Juliet in England.",
    ),
    Item(
        "Minutes of the garden club: the roses were cut in March, forty tulips were planted along"
        " the fence, and Mrs Patel will water everything in August.",
        "How many tulips did the garden club plant, and where did it plant them?",
        "The club planted forty tulips along the fence.",
        "How many days does a year have, and when is there one more?",
        "A year has 365 days, and a leap year has 366.",
    ),
    Item(
        "The parcel weighs three kilograms and contains two lamps. It was sent from Lyon on Monday"
        " and should be given to the neighbour in number nine.",
        "What is in the parcel, and to whom should the driver give it?",
        "There are two lamps in it, and the neighbour in number nine should get it.",
        "What is the largest planet of the solar system, and what is it made of?",
        "Jupiter is the largest planet, and it is mostly made of hydrogen and helium.",
    ),
    Item(
        "In the first half Leyton scored twice. Then it began to rain, their keeper was sent off,"
        " and Marden won the match with three goals in ten minutes.",
        "Which team won the match, and with how many goals in ten minutes?",
        "Marden won the match with three goals in ten minutes.",
        "Which metal is liquid at room temperature, and where was it used?",
        "Mercury is liquid at room temperature, and it was used in thermometers.",
    ),
    Item(
        "Dear Clara, the blue bicycle is in the cellar. The key hangs behind the clock, and you"
        " need to pump up the back tyre before you ride. Yours, Emil",
        "Where does the key hang, and what must Clara do before she rides?",
        "It hangs behind the clock, and she must pump up the back tyre.",
        "Where does the sun rise, and what makes it look as if it moved?",
        "It rises in the east, and the turning of the earth makes it look so.",
    ),
    Item(
        "The museum bought a painting of a grey horse for nine thousand crowns. Experts believed"
        " that Lundqvist had painted it, but the frame turned out to be younger.",
        "What did the museum pay for the painting, and what does it show?",
        "It paid nine thousand crowns, and the painting shows a grey horse.",
        "What do bees collect from flowers, and what do they make of it?",
        "Bees collect nectar, and they make honey of it in their hive.",
    ),
    Item(
        "Trains to Corby leave from platform seven until Sunday. From Monday on they leave from"
        " platform two, and the ticket office closes an hour earlier.",
        "From which platform do trains to Corby leave from Monday on?",
        "From Monday on trains to Corby leave from platform two.",
        "At which temperature does water boil at the level of the sea?",
        "At the level of the sea water boils at one hundred degrees.",
    ),
    Item(
        "For the soup you need six carrots, an onion and a spoon of ginger. My grandmother left"
        " out the onion and added a pear, which made it sweeter.",
        "What did the grandmother add to the soup, and what did she leave out?",
        "She added a pear to the soup, and she left out the onion.",
        "What is the capital of Italy, and which river flows through it?",
        "Rome is the capital of Italy, and the Tiber flows through it.",
    ),
    Item(
        "The old mill was sold to a family from Norway. They mended the wheel, painted the door"
        " green, and now they rent two rooms to people who come to hike.",
        "Who bought the old mill, and what colour did they paint the door?",
        "A family from Norway bought the mill and painted the door green.",
        "Who was the first person on the moon, and in which year was it?",
        "Neil Armstrong was the first person on the moon, in 1969.",
    ),
    Item(
        "Sample B was kept at four degrees and stayed clear. Sample D was forgotten near the"
        " window, turned brown within two days, and smelled of vinegar.",
        "Which sample turned brown, and where had it been standing?",
        "Sample D turned brown, and it had been standing near the window.",
        "Which ocean lies between Europe and America, and is it the largest?",
        "The Atlantic lies between them, and the Pacific is larger.",
    ),
    Item(
        "Ines plays the cello and her brother Marco the drums. They practise in the garage on"
        " Wednesdays, because their father sleeps during the day when he has worked at night.",
        "Why do Ines and her brother practise in the garage?",
        "They practise there because their father sleeps during the day.",
        "Why do people see the lightning before they hear the thunder?",
        "They see it first because light is much faster than sound.",
    ),
    Item(
        "The contract ends on the last day of June. Whoever wants to stay must write to the office"
        " before April, and the deposit of eight hundred is paid back in July.",
        "When must tenants write to the office, and how large is the deposit?",
        "They must write before April, and the deposit is eight hundred.",
        "When do leaves fall from trees, and why do they change colour?",
        "They fall in autumn, and they change colour since the green is broken down.",
    ),
    Item(
        "We counted eleven storks at the lake, two more than last spring. One of them wears a red"
        " ring, and the farmer says that it has nested on his barn since it was young.",
        "How many storks were at the lake, and what does one of them wear?",
        "There were eleven storks at the lake, and one wears a red ring.",
        "How many legs does a spider have, and how many does an insect have?",
        "A spider has eight legs, and an insect has six of them.",
    ),
    Item(
        "The committee met in Turin and chose Dr Osei as its chair. The next meeting will be held"
        " online, and each report may have at most four pages.",
        "Who is the chair of the committee, and how long may a report be?",
        "Dr Osei is the chair, and a report may have at most four pages.",
        "Who painted the Mona Lisa, and in which museum can people see it?",
        "Leonardo da Vinci painted it, and people can see it in the Louvre.",
    ),
    Item(
        "On the third day the path was blocked by a fallen tree, so the walkers went back to the"
        " hut. There they found a stove, some tea, and a guitar with four strings.",
        "What did the walkers find in the hut after they had gone back?",
        "They found a stove, some tea, and a guitar with four strings.",
        "What are the three colours of light that a screen is made of?",
        "They are red, green and blue, and all colours are mixed from them.",
    ),
    Item(
        "The new printer cannot print on both sides. Colour costs twelve cents a page, and the"
        " code for guests is on the yellow card beside the coffee machine.",
        "What does a page in colour cost, and where is the code for guests?",
        "It costs twelve cents, and the code is on the yellow card beside the coffee machine.",
        "What is the square root of eighty-one, and what is nine times seven?",
        "The square root of eighty-one is nine, and nine times seven is sixty-three.",
    ),
    Item(
        "Captain Vries wrote that the ice came in the night. In the morning they burned the spare"
        " mast, and on the tenth of May a whaler took the men aboard.",
        "What did the men burn, and who took them aboard in May?",
        "They burned the spare mast, and a whaler took them aboard.",
        "What do pandas eat, and in which country do they live?",
        "They eat bamboo, and they live in the mountains of China.",
    ),
    Item(
        "Course 205 is full. The teacher advises those on the waiting list to take course 318,"
        " which treats the same book but has an oral exam in place of the essay.",
        "Which course does the teacher advise, and what kind of exam does it have?",
        "The teacher advises course 318, which has an oral exam.",
        "Which language do most people in Brazil speak, and where does it come from?",
        "Most people in Brazil speak Portuguese, which comes from Portugal.",
    ),
)


def instructions() -> dict[str, list[tuple[str, str]]]:
    """For each kind of instruction, what the user says and what the assistant answers.

    Example:
        >>> user, answer = instructions()["needs the passage"][0]

    Returns:
        Twenty pairs for each of "needs the passage", "no passage" and "passage not needed", in the
        order of `ITEMS`.
    """
    return {
        "needs the passage": [(f"{x.passage}\n\n{x.asked}", x.answer) for x in ITEMS],
        "no passage": [(x.general, x.known) for x in ITEMS],
        "passage not needed": [(f"{x.passage}\n\n{x.general}", x.known) for x in ITEMS],
    }
