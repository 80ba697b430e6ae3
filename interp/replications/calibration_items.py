"""Four small classification tasks, written for the study of calibrated attention sinks.

Each has a fixed beginning, with examples or a sentence that names the classes, and 240 items,
equally many of each class. `split_items` deals them into pilot, first and second.
"""

import random

from interp._errors import unknown

# name -> (the fixed beginning, how an item is asked for, the items of each class)
ITEMS: dict[str, tuple[str, str, dict[str, str]]] = {
    "sentiment": (
        "The sentiment of each review is positive or negative.\n\n"
        "Review: I could not stop reading it.\nSentiment: positive\n\n",
        "Review: {}.\nSentiment:",
        {
            "positive": (
                "The soup was delicious|The staff was friendly|The film was brilliant|The beach was"
                " clean|The service was quick|The view was breathtaking|The music was"
                " lovely|The story was touching|The garden was beautiful|The bread was fresh|The"
                " guide was helpful|The hotel was charming|The actors were superb|The wine was"
                " excellent|The bed was comfortable|The price was fair|The cake was heavenly|The"
                " teacher was patient|The book was gripping|The park was peaceful|The coffee was"
                " perfect|The driver was polite|The trip was unforgettable|The jokes were"
                " hilarious|The shop was tidy|The room was spotless|The game was thrilling|The"
                " painting was stunning|The doctor was kind|The breakfast was generous|The"
                " concert was magical|The waiter was attentive|The museum was fascinating|The"
                " dress was gorgeous|The lesson was inspiring|The screen was sharp|The battery"
                " lasts for days|The colours were vivid|The plot was clever|The ending was"
                " satisfying|The seats were roomy|The voice was warm|The pool was delightful|The"
                " fish was tender|The delivery was early|The phone works flawlessly|The boots"
                " fit perfectly|The pasta was superb|The crew was cheerful|The host was"
                " welcoming|I would gladly come back|We enjoyed every minute|My children adored"
                " it|It exceeded our hopes|I recommend it to everyone|It made my day|We felt at"
                " home|I smiled all evening|It was worth every penny|Everything went"
                " smoothly|The tea was refreshing|The nurse was gentle|The sound was crisp|The"
                " dialogue was witty|The lamp is elegant|The chair is sturdy|The app is easy to"
                " use|The desserts were divine|The weather was glorious|The train was"
                " punctual|The tour was entertaining|The rooms were spacious|The salad was"
                " crunchy and fresh|The pizza was amazing|The band was fantastic|The hike was"
                " rewarding|The sauce was rich and tasty|The neighbours were lovely|The play was"
                " outstanding|The course was useful|The camera is superb|The knife is wonderfully"
                " sharp|The gift delighted her|The puppy was adorable|The picnic was fun|The"
                " workshop was excellent|The clerk was courteous|The soap smells lovely|The"
                " repairs were flawless|The blanket is cosy|The novel was moving|The view was"
                " worth the climb|The steak was juicy|The office was bright and airy|The cruise"
                " was a dream|The show was dazzling|The singer was phenomenal|The berries were"
                " sweet|The fabric is soft|The software is reliable|We will surely return|I love"
                " this place|It works like a charm|What a pleasant surprise|A true"
                " masterpiece|It was simply great|I am very happy with it|They treated us"
                " well|Best purchase of the year|A joy from start to finish|The cookies were"
                " yummy|The cabin was snug|The ride was smooth|The chef is talented|The advice was"
                " sound|The market was lively|The speech was uplifting|The toys are well made|The"
                " trail was scenic|The cheese was marvellous"
            ),
            "negative": (
                "The soup was bland|The staff was rude|The film was boring|The beach was"
                " filthy|The service was slow|The view was disappointing|The music was"
                " awful|The story was predictable|The garden was neglected|The bread was"
                " stale|The guide was useless|The hotel was shabby|The actors were wooden|The wine"
                " was sour|The bed was lumpy|The price was outrageous|The cake was dry|The teacher"
                " was impatient|The book was tedious|The park was dangerous|The coffee was"
                " bitter|The driver was reckless|The trip was a nightmare|The jokes were"
                " lame|The shop was messy|The room was dirty|The game was dull|The painting was"
                " ugly|The doctor was careless|The breakfast was meagre|The concert was a"
                " disaster|The waiter was arrogant|The museum was overpriced|The dress was"
                " torn|The lesson was confusing|The screen was cracked|The battery dies within an"
                " hour|The colours were faded|The plot was stupid|The ending was"
                " unsatisfying|The seats were cramped|The voice was shrill|The pool was"
                " freezing|The fish was rotten|The delivery was late|The phone keeps"
                " crashing|The boots hurt my feet|The pasta was overcooked|The crew was"
                " grumpy|The host was unfriendly|I would never come back|We hated every minute|My"
                " children cried|It ruined our holiday|I warn everyone about it|It spoiled my"
                " day|We felt cheated|I was annoyed all evening|It was a waste of"
                " money|Everything went wrong|The tea was lukewarm|The nurse was rough|The sound"
                " was muffled|The dialogue was clumsy|The lamp is broken|The chair is wobbly|The"
                " app is full of bugs|The desserts were disgusting|The weather was"
                " miserable|The train was delayed|The tour was exhausting|The rooms were"
                " tiny|The salad was wilted|The pizza was burnt|The band was terrible|The hike was"
                " pointless|The sauce was greasy|The neighbours were noisy|The play was"
                " dreadful|The course was useless|The camera is junk|The knife is blunt|The gift"
                " offended her|The puppy was sick|The picnic was a failure|The workshop was a"
                " mess|The clerk was insulting|The soap smells horrible|The repairs were"
                " sloppy|The blanket is scratchy|The novel was unreadable|The view was blocked by a"
                " wall|The steak was tough|The office was dark and stuffy|The cruise was"
                " horrible|The show was embarrassing|The singer was out of tune|The berries were"
                " mouldy|The fabric is itchy|The software is unreliable|We will not return|I hate"
                " this place|It broke after a day|What an unpleasant surprise|A complete"
                " failure|It was simply bad|I am very unhappy with it|They treated us badly|Worst"
                " purchase of the year|A torture from start to finish|The cookies were"
                " tasteless|The cabin was damp|The ride was bumpy|The chef is incompetent|The"
                " advice was wrong|The market was depressing|The speech was endless|The toys are"
                " badly made|The trail was muddy and ugly|The cheese was mouldy"
            ),
        },
    ),
    "continent": (
        "City: Paris\nContinent: Europe\n\nCity: Tokyo\nContinent: Asia\n\n"
        "City: Nairobi\nContinent: Africa\n\nCity: Chicago\nContinent: America\n\n",
        "City: {}\nContinent:",
        {
            "Europe": (
                "London|Berlin|Madrid|Rome|Vienna|Lisbon|Dublin|Oslo|Stockholm|Helsinki|Warsaw"
                "|Prague"
                "|Budapest|Athens|Brussels|Amsterdam|Copenhagen|Munich|Hamburg|Cologne|Barcelona"
                "|Valencia|Seville|Milan|Naples|Turin|Venice|Florence|Lyon|Marseille|Bordeaux|Lille"
                "|Zurich|Geneva|Basel|Bern|Salzburg|Graz|Krakow|Gdansk|Riga|Vilnius|Tallinn|Kiev"
                "|Minsk|Sofia|Bucharest|Belgrade|Zagreb|Sarajevo|Ljubljana|Bratislava|Manchester"
                "|Liverpool|Glasgow|Edinburgh|Rotterdam|Antwerp|Porto|Reykjavik"
            ),
            "Asia": (
                "Beijing|Shanghai|Delhi|Mumbai|Kolkata|Chennai|Bangalore|Hyderabad|Karachi|Lahore"
                "|Islamabad|Dhaka|Kathmandu|Colombo|Bangkok|Hanoi|Jakarta|Manila|Singapore|Seoul"
                "|Busan|Osaka|Kyoto|Nagoya|Sapporo|Hiroshima|Taipei|Wuhan|Guangzhou|Shenzhen"
                "|Chengdu|Nanjing|Harbin|Tianjin|Lhasa|Ulaanbaatar|Tashkent|Samarkand|Almaty|Kabul"
                "|Tehran|Isfahan|Baghdad|Basra|Damascus|Aleppo|Beirut|Amman|Jerusalem|Riyadh|Mecca"
                "|Doha|Dubai|Muscat|Sanaa|Yangon|Mandalay|Phnom Penh|Vientiane|Kuala Lumpur"
            ),
            "Africa": (
                "Cairo|Alexandria|Giza|Luxor|Tripoli|Benghazi|Tunis|Algiers|Oran|Casablanca|Rabat"
                "|Marrakesh|Fez|Tangier|Dakar|Bamako|Timbuktu|Accra|Kumasi|Lagos|Abuja|Kano|Ibadan"
                "|Lome|Cotonou|Abidjan|Monrovia|Freetown|Conakry|Bissau|Banjul|Nouakchott|Niamey"
                "|Ouagadougou|Douala|Yaounde|Libreville|Brazzaville|Kinshasa|Luanda|Windhoek"
                "|Gaborone|Johannesburg|Pretoria|Durban|Cape Town|Harare|Bulawayo|Lusaka|Lilongwe"
                "|Maputo|Antananarivo|Dodoma|Mombasa|Kampala|Kigali|Addis Ababa|Asmara|Mogadishu"
                "|Khartoum"
            ),
            "America": (
                "New York|Boston|Philadelphia|Washington|Atlanta|Miami|Houston|Dallas|Denver"
                "|Phoenix"
                "|Seattle|Portland|San Francisco|Los Angeles|San Diego|Detroit|Cleveland|Pittsburgh"
                "|Baltimore|Minneapolis|Toronto|Montreal|Vancouver|Ottawa|Quebec|Calgary|Winnipeg"
                "|Mexico City|Guadalajara|Monterrey|Tijuana|Havana|Kingston|Guatemala City"
                "|San Salvador|Tegucigalpa|Managua|Bogota|Medellin|Cali|Caracas|Maracaibo|Quito"
                "|Guayaquil|Lima|Cusco|Arequipa|La Paz|Santiago|Valparaiso|Buenos Aires|Cordoba"
                "|Rosario|Montevideo|Asuncion|Brasilia|Rio de Janeiro|Sao Paulo|Recife|Manaus"
            ),
        },
    ),
    "language": (
        "Word: maison\nLanguage: French\n\nWord: Haus\nLanguage: German\n\n"
        "Word: hombre\nLanguage: Spanish\n\nWord: ragazzo\nLanguage: Italian\n\n",
        "Word: {}\nLanguage:",
        {
            "French": (
                "bonjour|merci|fromage|voiture|jamais|toujours|beaucoup|maintenant|aujourd'hui"
                "|demain|oiseau|cheval|chien|chat|pomme|pain|eau|lait|beurre|jardin|fleur|arbre"
                "|fenêtre|porte|chambre|cuisine|livre|école|travail|homme|femme|enfant|fille|garçon"
                "|frère|soeur|père|mère|neveu|vieux|jeune|rouge|bleu|vert|noir|blanc|heureux"
                "|lourd|petit|grand|chaud|froid|hiver|printemps|soleil|lune|étoile|mer|ciel"
                "|château"
            ),
            "German": (
                "danke|bitte|Brot|Wasser|Milch|Käse|Apfel|Hund|Katze|Pferd|Vogel|Baum|Blume|Garten"
                "|Fenster|Tür|Zimmer|Küche|Buch|Schule|Arbeit|Mann|Frau|Kind|Mädchen|Junge|Bruder"
                "|Schwester|Vater|Mutter|Freund|alt|jung|rot|blau|grün|schwarz|weiß|glücklich"
                "|traurig|klein|groß|heiß|kalt|Herbst|Frühling|Sonne|Mond|Stern|Meer|Himmel|Schloss"
                "|immer|niemals|heute|morgen|gestern|vielleicht|Straße|Stadt"
            ),
            "Spanish": (
                "gracias|hola|queso|coche|nunca|siempre|mucho|ahora|hoy|mañana|pájaro|caballo"
                "|perro|gato|manzana|pan|agua|leche|mantequilla|jardín|flor|árbol|ventana|puerta"
                "|habitación|cocina|cuchara|escuela|trabajo|mujer|niño|niña|hermano|hermana|hijo"
                "|abuela|amigo|viejo|joven|rojo|azul|amarillo|negro|blanco|feliz|enojado|pequeño"
                "|ayer|caliente|frío|invierno|verano|sol|nieve|estrella|mar|lluvia|castillo"
                "|calle|ciudad"
            ),
            "Italian": (
                "grazie|ciao|formaggio|macchina|mai|sempre|molto|adesso|oggi|domani|uccello"
                "|cavallo|cane|gatto|mela|pane|acqua|latte|burro|giardino|fiore|albero|finestra"
                "|porta|camera|cucina|libro|scuola|lavoro|uomo|donna|bambino|bambina|fratello"
                "|sorella|padre|madre|amico|vecchio|giovane|rosso|blu|verde|nero|bianco|felice"
                "|triste|piccolo|grande|caldo|freddo|inverno|primavera|sole|luna|stella|mare"
                "|cielo|castello|strada"
            ),
        },
    ),
    "profession": (
        "This is a list of famous people of the past and the present. Each of them was known all"
        " over the world, as a painter, a musician, a writer or a scientist.\n\n",
        "{} was a famous",
        {
            "painter": (
                "Vincent van Gogh|Claude Monet|Rembrandt|Johannes Vermeer|Sandro Botticelli|Raphael"
                "|Titian|Caravaggio|Peter Paul Rubens|Diego Velázquez|Francisco Goya|El Greco"
                "|Salvador Dalí|Joan Miró|Paul Cézanne|Paul Gauguin|Edgar Degas|Édouard Manet"
                "|Auguste Renoir|Henri Matisse|Marc Chagall|Wassily Kandinsky|Paul Klee"
                "|Gustav Klimt"
                "|Egon Schiele|Edvard Munch|Albrecht Dürer|Hans Holbein|Caspar David Friedrich"
                "|Hieronymus Bosch|Pieter Bruegel|Jan van Eyck|William Turner|John Constable"
                "|Thomas Gainsborough|Joshua Reynolds|Andy Warhol|Jackson Pollock|Mark Rothko"
                "|Edward Hopper|Georgia O'Keeffe|Frida Kahlo|Diego Rivera|Piet Mondrian"
                "|Kazimir Malevich|René Magritte|Amedeo Modigliani|Camille Pissarro|Georges Seurat"
                "|Henri Rousseau|Jacques-Louis David|Eugène Delacroix|Gustave Courbet|Giotto"
                "|Tintoretto|Mary Cassatt|Berthe Morisot|David Hockney|Roy Lichtenstein"
                "|Willem de Kooning"
            ),
            "musician": (
                "Ludwig van Beethoven|Johann Sebastian Bach|Joseph Haydn|Franz Schubert"
                "|Robert Schumann|Frédéric Chopin|Franz Liszt|Richard Wagner|Johannes Brahms"
                "|Giuseppe Verdi|Antonio Vivaldi|Claude Debussy|Maurice Ravel|Igor Stravinsky"
                "|Gustav Mahler|Antonín Dvořák|Niccolò Paganini|Felix Mendelssohn|Miles Davis"
                "|John Coltrane|Louis Armstrong|Duke Ellington|Charlie Parker|Billie Holiday"
                "|Ella Fitzgerald|Elvis Presley|Chuck Berry|Bob Dylan|Jimi Hendrix|John Lennon"
                "|Paul McCartney|Mick Jagger|David Bowie|Freddie Mercury|Elton John|Stevie Wonder"
                "|Michael Jackson|Madonna|Prince|Bob Marley|Aretha Franklin|Ray Charles|B.B. King"
                "|Eric Clapton|Bruce Springsteen|Johnny Cash|Dolly Parton|Frank Sinatra|Nina Simone"
                "|Joni Mitchell|Neil Young|Kurt Cobain|Beyoncé|Taylor Swift|Whitney Houston"
                "|Yo-Yo Ma|Glenn Gould|Herbie Hancock|Thelonious Monk|Dizzy Gillespie"
            ),
            "writer": (
                "Charles Dickens|Jane Austen|Leo Tolstoy|Fyodor Dostoevsky|Anton Chekhov|Mark Twain"
                "|Ernest Hemingway|F. Scott Fitzgerald|William Faulkner|John Steinbeck"
                "|Herman Melville"
                "|Nathaniel Hawthorne|Edgar Allan Poe|Henry James|Virginia Woolf|James Joyce"
                "|George Orwell|Aldous Huxley|Oscar Wilde|Thomas Hardy|Charlotte Brontë"
                "|Emily Brontë"
                "|Mary Shelley|George Eliot|Joseph Conrad|D. H. Lawrence|Rudyard Kipling"
                "|Agatha Christie|Arthur Conan Doyle|J. R. R. Tolkien|C. S. Lewis|J. K. Rowling"
                "|Stephen King|Toni Morrison|Maya Angelou|Harper Lee|J. D. Salinger|Kurt Vonnegut"
                "|Philip Roth|Sylvia Plath|Emily Dickinson|Walt Whitman|Robert Frost|T. S. Eliot"
                "|Victor Hugo|Gustave Flaubert|Honoré de Balzac|Émile Zola|Marcel Proust"
                "|Albert Camus|Johann Wolfgang von Goethe|Thomas Mann|Franz Kafka|Hermann Hesse"
                "|Günter Grass|Dante Alighieri|Italo Calvino|Miguel de Cervantes"
                "|Gabriel García Márquez|Jorge Luis Borges"
            ),
            "scientist": (
                "Isaac Newton|Galileo Galilei|Johannes Kepler|Nicolaus Copernicus|Charles Darwin"
                "|Marie Curie|Niels Bohr|Max Planck|Werner Heisenberg|Erwin Schrödinger|Paul Dirac"
                "|Enrico Fermi|Richard Feynman|Stephen Hawking|Robert Oppenheimer|Michael Faraday"
                "|James Clerk Maxwell|Ernest Rutherford|J. J. Thomson|Lord Kelvin|Robert Boyle"
                "|Robert Hooke|Antoine Lavoisier|Joseph Priestley|John Dalton|Dmitri Mendeleev"
                "|Louis Pasteur|Robert Koch|Alexander Fleming|Gregor Mendel|James Watson"
                "|Francis Crick|Rosalind Franklin|Linus Pauling|Carl Linnaeus|Alfred Wegener"
                "|Edwin Hubble|Carl Sagan|Tycho Brahe|Christiaan Huygens|Blaise Pascal"
                "|André-Marie Ampère|Georg Ohm|Heinrich Hertz|Alessandro Volta|Lise Meitner"
                "|Otto Hahn|Ludwig Boltzmann|Rudolf Clausius|Hermann von Helmholtz"
                "|Carl Friedrich Gauss|Leonhard Euler|Barbara McClintock|Jane Goodall"
                "|Rachel Carson|Ivan Pavlov|Henri Becquerel|Wilhelm Röntgen|Edward Jenner"
                "|Alan Turing"
            ),
        },
    ),
}
PARTS = ("pilot", "first", "second")
PILOT = 0.16  # the share of each class that wordings and strengths were tried on


def classes(task: str) -> list[str]:
    """The classes of a task, in the order of the columns of its logits."""
    return list(_known(task)[2])


def shown(task: str) -> str:
    """The beginning that every prompt of a task shares."""
    return _known(task)[0]


def asked(task: str) -> tuple[str, str]:
    """What stands before and after an item of a task."""
    before, after = _known(task)[1].split("{}")
    return before, after


def split_items(task: str, part: str, n: int | None = None) -> list[tuple[str, int]]:
    """(what is asked, number of the right class) for the items of one part of a task.

    Example:
        >>> split_items("continent", "first", n=4)[0]

    Args:
        task: One of `ITEMS`.
        part: "pilot", "first" or "second"; no item is in two of them.
        n: How many, equally many of each class; None for all.

    Raises:
        ValueError: If there are fewer, or n is not a multiple of the number of classes.
    """
    _, form, items = _known(task)
    if part not in PARTS:
        raise unknown("part", part, PARTS)
    chosen = []
    for number, (name, words) in enumerate(items.items()):
        every = words.split("|")
        random.Random(f"{task} {name}").shuffle(every)
        pilot = round(PILOT * len(every))
        half = (len(every) - pilot) // 2
        ends = {
            "pilot": (0, pilot),
            "first": (pilot, pilot + half),
            "second": (pilot + half, pilot + 2 * half),
        }
        chosen.append([(form.format(word), number) for word in every[slice(*ends[part])]])
    each = len(chosen[0]) if n is None else n // len(chosen)
    if (n is not None and n % len(chosen)) or each < 1 or each > len(chosen[0]):
        most = len(chosen[0]) * len(chosen)
        raise ValueError(
            f"n={n}: the {part} part of {task!r} has {most} items of {len(chosen)} classes; give a"
            f" multiple of {len(chosen)} up to {most}, or None for all"
        )
    return [row for same in zip(*(rows[:each] for rows in chosen)) for row in same]


def _known(task: str) -> tuple[str, str, dict[str, str]]:
    if task not in ITEMS:
        raise unknown("task", task, tuple(ITEMS))
    return ITEMS[task]
