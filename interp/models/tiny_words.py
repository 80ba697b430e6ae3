"""The words that the tiny models' tokenizer knows: those of our tasks, and enough others to write a sentence."""

_NAMES = """
Mary John Tom James Anna Paul Mark Sarah Emma Peter Alice David Kate Simon Laura Jack Michael Robert William Richard
Joseph Thomas Charles Daniel Matthew Anthony Steven Andrew Kevin Brian George Edward Jason Jeff Ryan Jacob Gary
Nicholas Eric Jonathan Stephen Larry Justin Scott Brandon Benjamin Samuel Gregory Frank Alexander Raymond Patrick Jerry
Dennis Tyler Aaron Jose Adam Nathan Henry Zachary Douglas Kyle Noah Ethan Walter Keith Christian Roger Terry Sean Austin
Carl Arthur Lawrence Dylan Jesse Jordan Bryan Billy Joe Bruce Gabriel Logan Albert Alan Juan Elijah Wayne Randy Vincent
Roy Ralph Bobby Russell Philip Eugene Jennifer Linda Elizabeth Barbara Susan Jessica Karen Lisa Nancy Betty Sandra
Margaret Ashley Kimberly Emily Donna Michelle Carol Amanda Melissa Deborah Stephanie Rebecca Sharon Cynthia
Kathleen Amy Angela Shirley Brenda Pamela Nicole Ruth Katherine Samantha Christine Catherine Virginia Debra Rachel Janet
Maria Heather Diane Julie Joyce Victoria Kelly Christina Joan Evelyn Lauren Judith Olivia Martha Cheryl Megan Andrea
Ann Jean Jane Grace Rose Julia Sophia Claire Helen Luke Max Oliver Leo Ben Sam Dan Tim Jim Bob Bill Mike Steve Chris
Alex Ian Neil Fred Harry Louis Oscar Hugo Ivan Victor Martin Lucy Ella Mia Eva Sara Clara Diana Tony Greg Jake Josh
Matt Nick Rob Ron Ted Will Andy Beth Ellen Fiona Holly Iris Jill June Kim Lily Marie Molly Nina Polly Rita Sally
Sophie Tina Vera Wendy Zoe Amber Ruby Dean Earl Erin Katie Lewis Carlos Pedro Luis Marcus Stuart Hannah Caroline
Charlotte Isabella Abigail Harold Howard Leonard Allen Brad Chad Craig Derek Dave Don Doug Evan Glen Graham Jay Joel
Ken Kurt Lee Leon Lou Nathaniel Norman Oliver Ray Ross Seth Shane Stan Todd Trevor Troy Dana Gina Jenny Joy Kristen
Lynn Monica Natalie Paula Robin Tara Tracy Vanessa Crystal Erica April Alicia Danielle Charlie Crystal Jasmine
"""
_PLACES = """
store garden restaurant school hospital office house station park market library kitchen bedroom river beach museum cafe
hotel bank church farm airport theater bar shop gym pool lake forest city town village street room bathroom zoo
station cinema bakery bridge castle temple tower hall field mountain hill valley island harbor port stadium club
party meeting lunch dinner breakfast work concert game class lesson race show play fair wedding
"""
_OBJECTS = """
drink ring kiss computer necklace bone book ball basketball gift letter key bag hat coat pen pencil cup bottle phone camera
watch map ticket flower flowers apple orange banana cake cookie sandwich bread cheese milk water coffee tea juice knife
fork spoon plate glass lamp chair table desk box card photo picture painting guitar piano drum song story poem report
document file note message package present toy doll car bike bicycle boat train plane bus truck shirt shoes dress umbrella
snack money coin dollar newspaper magazine rope hammer basket blanket pillow candle clock mirror paper notebook scarf
cherry lemon pear grape mug pot pan bowl jar brush comb soap towel stone stick leaf tree plant seed wine beer
jacket sweater socks gloves belt tie helmet racket bat kite puzzle novel diary keys medicine
"""
_VERBS = """
went go goes going gone gave give gives giving given handed hand passed pass showed show told tell said say says
asked ask offered offer sent send sold sell lent lend brought bring bought buy took take got get had have has having decided wanted
want wants wanted found find saw see met meet visited visit walked walk talked talk walks talks arrived left leave left
came come comes argued argue thought think started start ended worked works played plays threw throw
lasted last began begin begins continued began was were is are am be been being do does did done can could will would
should may might must smiles smile smiled laughs laugh laughed runs run ran sings sing swims swim sleeps sleep eats eat
drinks reads read writes write wrote jumps jump knows know knew likes like liked loves love loved hates hate hated
admires admire sees needs need makes make made keeps keep puts put sits sit stands stand waits wait moves move
looks look seems seem appears appear falls fall grows grow opens open closes close helps help hears hear brings
agrees agree arrives returns return laughed chose chosen gets keeps follows follow greets greet warns warn
"""
_PEOPLE = """
man men woman women boy boys girl girls child children person people author authors doctor doctors teacher teachers student
students lawyer lawyers farmer farmers pilot pilots driver drivers manager managers officer officers minister ministers
senator senators guard guards chef chefs dancer dancers skater skaters surgeon surgeons customer customers consultant
consultants executive executives taxi architect architects parent parents cousin cousins friend friends neighbor neighbors
king kings queen queens prince princes player players singer singers writer writers artist artists actor actors nurse
nurses judge judges soldier soldiers sailor sailors worker workers leader leaders member members guest guests visitor
visitors engineer engineers scientist scientists assistant assistants mechanic mechanics director directors
brother brothers sister sisters mother mothers father fathers uncle uncles aunt aunts baker bakers painter painters
clerk clerks secretary poet poets hunter hunters victim victims editor editors banker bankers owner owners
"""
_THINGS = """
dog dogs cat cats bird birds horse horses cow cows sheep fish lion lions bear bears wolf wolves fox mouse mice rabbit
cars trees books keys cabinets cabinet houses tables chairs boxes pictures letters flowers rivers roads road shops
machine machines window windows door doors movie movies film films game games clocks wall walls ship ships plane planes
"""
_YEARS = """
war conflict battle siege revolt rebellion expedition project journey program study trial tour voyage mission campaign
reign operation treaty pilgrimage strike crisis famine plague dispute experiment marriage construction negotiation
deal debate case feud effort quest raid invasion pact sanctions voyages clash accident alliance demonstration fight
friendship hostility insurgency investigation partnership persecution process progress quarrel regime relationship
revolution riots rise rule scandal search sequence struggle success suit tenure truce uprising
year years century month months day days from to since until between lasted
"""
_CAPITALS = """
capital capitals country nation state continent region language located France Paris Germany Berlin Italy Rome Spain Madrid
Portugal Lisbon England London Britain Ireland Dublin Scotland Edinburgh Wales Austria Vienna Belgium Brussels Netherlands
Amsterdam Denmark Copenhagen Sweden Stockholm Norway Oslo Finland Helsinki Poland Warsaw Russia Moscow Ukraine Kiev Kyiv Greece
Athens Turkey Ankara Hungary Budapest Romania Bucharest Bulgaria Sofia Serbia Belgrade Croatia Zagreb Switzerland Bern
Japan Tokyo China Beijing Korea Seoul India Delhi Pakistan Islamabad Iran Tehran Iraq Baghdad Syria Damascus Israel Jerusalem
Egypt Cairo Libya Tripoli Morocco Rabat Tunisia Tunis Algeria Algiers Kenya Nairobi Ethiopia Nigeria Abuja Ghana Accra
Senegal Dakar Uganda Kampala Zimbabwe Harare Cuba Havana Canada Ottawa Mexico Peru Lima Chile Santiago Argentina Buenos
Brazil Colombia Venezuela Caracas Ecuador Quito Bolivia Uruguay Paraguay Australia Canberra Thailand Bangkok Vietnam
Hanoi Cambodia Indonesia Jakarta Malaysia Philippines Manila Nepal Kathmandu Bangladesh Dhaka Afghanistan Kabul Lebanon
Beirut Jordan Amman Qatar Doha Oman Muscat Saudi Arabia Riyadh Kuwait Yemen Iceland Czech Prague Slovakia Slovenia Estonia
Latvia Riga Lithuania Albania Armenia Georgia Mongolia Singapore Jamaica Haiti Angola Sudan Somalia Zambia Mali Taiwan
Texas California Florida Boston Chicago Europe Asia Africa America French German Italian Spanish English
Sydney Milan Munich Venice Lyon Barcelona Geneva Zurich Istanbul Mumbai Shanghai Toronto Dallas
"""
_SMALL = """
the a an this that these those and or but so because if when while then after before as at in on of for with without by near
into onto over under about against to from up down out off through during he she it they we I you him her them us me his
hers its their our your my who whom whose which what where why how not no yes all some any each every both few
many much more most other another same different one two three four five six seven eight nine ten first second third
new old good bad big small large little long short high low young beautiful happy sad nice kind great own only just also very
too now here there again always never often today yesterday together afterwards later soon once well still
time thing way place world life home side front behind next beside across room lot end part bit
red blue green yellow black white brown purple pink gray color number word name question answer key friends
When While After Then Before Once The A An In On At It He She They We I You This That There Here And But So If As To For
From With By During Since Afterwards Yesterday Today Friends Both One Two What Who Where How Q Question Answer Capital
"""
_SHOWN = """
hot cold up down fast slow rich poor light dark happy sad closed hard soft true false early late wet dry strong weak far last
left right full empty thick thin loud quiet clean dirty deep shallow wide narrow sharp dull inside outside above below
win lose buy sell push pull give take start stop love hate tree star boat bus feet tooth teeth leaf leaves story stories
river rivers see saw go went come came think thought speak spoke find found bring brought build built break broke catch caught
Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August September
October November December eleven twelve A B C D E F G H I J K L M N O P Q R S T U V W X Y Z order
recipe plan code message sign title prize song secret Question Answer
purple lazy dusty golden wooden frozen hollow tiny giant broken silent silver royal quick bitter ancient lion piano carpet rocket
pepper guitar hammer turtle mirror candle diamond lemon tiger violin anchor basket rabbit helmet dragon ladder pumpkin bullet
"""
_LISTS = """
potato jug textbook leash bracelet envelope lighter floor Red Orange Yellow Green Blue Purple Brown Black Given official Cardiff
Japanese Russian Chinese Greek Portuguese Polish Norwegian Hungarian Swedish Turkish Thai Vietnamese Danish Finnish Korean
Dutch Ukrainian Hebrew Persian Romanian Icelandic Arabic Bulgarian Croatian Welsh Hindi Serbian
"""
_CODE = """
def self param call set load size path shape model value index date user group page text node edge data test result line request output
item response version function log string error context image message event row form query label target array source module
status content session token host mode price control action cost issue position course minute education type research subject
age force health patient mind condition section activity building sense sort staff team management morning practice evidence ground
foot food union role land art
"""
_MARKS = """
. , ; : ! ? ' " ( ) - / & % $ # * + = < > [ ] 's 't 're 've 'm 'll 'd ." ," ?" !" .) ), ): \"\"\" ĊĠĠĠ ĊĊĠĠĠ
"""


def _spread(*texts: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for text in texts for word in text.split()))


WORDS = _spread(
    _NAMES,
    _PLACES,
    _OBJECTS,
    _VERBS,
    _PEOPLE,
    _THINGS,
    _YEARS,
    _CAPITALS,
    _SMALL,
    _SHOWN,
    _LISTS,
    _CODE,
    _MARKS,
)
