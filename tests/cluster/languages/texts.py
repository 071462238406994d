"""Short manuals in several languages, for tests of languages, keywords and searches."""

GERMAN = (
    "Die Häuser des Wasserwerks liegen am Fluss. Vor dem Einschalten prüft die Bedienerin die Pumpen "
    "und alle Ventile. Sie öffnet zuerst das Ventil am Behälter und wartet, bis der Druck steigt. "
    "Wenn die Pumpen ungewöhnlich laut laufen, schaltet sie den Strom ab und ruft den Meister. Die "
    "Pumpen werden jede Woche gereinigt."
)
FRENCH = (
    "Les bâtiments de la station se trouvent près de la rivière. Avant la mise en marche, "
    "l'opératrice vérifie les pompes et toutes les vannes. Elle ouvre d'abord la vanne du réservoir "
    "et attend que la pression augmente. Si les pompes font trop de bruit, elle coupe le courant et "
    "appelle le contremaître. Les pompes sont nettoyées chaque semaine."
)
CHINESE = (
    "自来水厂的房屋在河边。启动之前,操作员要检查水泵和所有阀门。先打开水箱的阀门,等压力上升以后再启动水泵。"
    "如果水泵的声音太大,操作员应该马上关闭电源,并通知值班主任。水泵每星期清洗一次。"
)
ENGLISH = (
    "The houses of the water works stand by the river. Before the start, the operator checks the "
    "pumps and all valves. She opens the valve of the tank first and waits until the pressure rises. "
    "If the pumps are too loud, she switches the power off and calls the foreman. The pumps are "
    "cleaned every week."
)
