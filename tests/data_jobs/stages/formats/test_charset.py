"""Text is decoded correctly in any character set, whatever set the document declares."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.records import Fact, Outcome
from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.text import clean
from data_jobs.stages.parsing.parser import Parser

RUSSIAN = (
    "Насос остановлен, потому что давление в системе упало ниже допустимого. "
    "Проверьте клапан и запустите его снова. "
)
CHINESE = "请先关闭水泵，然后检查阀门。如果压力低于允许值，系统会自动停止运行。"
TRADITIONAL = "請先關閉水泵，然後檢查閥門。如果壓力低於允許值，系統會自動停止運行。"
JAPANESE = "ポンプを停止してから、バルブを確認してください。圧力が低い場合、システムは自動的に停止します。"
KOREAN = "펌프를 먼저 멈춘 다음 밸브를 확인하십시오. 압력이 허용치보다 낮으면 시스템이 자동으로 정지합니다. "
FRENCH = (
    "La pompe s’est arrêtée : la pression était trop basse. "
    "Vérifiez la vanne, puis redémarrez le système “pressé”. "
)
POLISH = (
    "Pompa została zatrzymana, ponieważ ciśnienie w układzie spadło poniżej wartości. "
    "Sprawdź zawór i uruchom ją ponownie. "
)
GREEK = "Η αντλία σταμάτησε επειδή η πίεση στο σύστημα έπεσε κάτω από το όριο. Ελέγξτε τη βαλβίδα. "
TURKISH = (
    "Pompa durdu, çünkü sistemdeki basınç izin verilen değerin altına düştü. "
    "Vanayı kontrol edin ve yeniden başlatın. "
)
HEBREW = "המשאבה נעצרה כי הלחץ במערכת ירד מתחת לערך המותר. בדקו את השסתום והפעילו אותה מחדש. "
ARABIC = "توقفت المضخة لأن الضغط في النظام انخفض عن الحد المسموح به. تحقق من الصمام ثم أعد التشغيل. "
THAI = "ปั๊มหยุดทำงานเพราะความดันในระบบต่ำกว่าค่าที่กำหนด กรุณาตรวจสอบวาล์วแล้วเริ่มใหม่ "
SETS = {
    RUSSIAN: "koi8-r cp1251 iso8859-5 cp866 mac-cyrillic".split(),
    CHINESE: "gb2312 gbk gb18030 utf-16-le utf-16-be".split(),
    TRADITIONAL: "big5 utf-16-le".split(),
    JAPANESE: "shift_jis cp932 euc_jp iso2022_jp utf-16-be utf-16-le utf-32-le".split(),
    KOREAN: "euc_kr cp949 iso2022_kr utf-16-le".split(),
    FRENCH: "cp1252 utf-16-le utf-16-be utf-32-be mac-roman".split(),
    POLISH: "cp1250 iso8859-2".split(),
    GREEK: "cp1253 iso8859-7 utf-16-be".split(),
    TURKISH: "cp1254 iso8859-9".split(),
    HEBREW: "cp1255 iso8859-8 utf-16-le".split(),
    ARABIC: "cp1256 iso8859-6".split(),
    THAI: "cp874 tis-620 utf-16-le".split(),
}
CASES = [
    (text, encoding)
    for text, encodings in SETS.items()
    for encoding in [*encodings, "utf-8", "utf-8-sig", "utf-16", "utf-32"]
]


@pytest.mark.parametrize(
    ("text", "encoding"), CASES, ids=[f"{text.split()[0][:8]}-{encoding}" for text, encoding in CASES]
)
def test_text_in_any_character_set_is_decoded_without_a_declaration(text: str, encoding: str) -> None:
    text = f"{text}\n{text}\n"
    decoded = decode(text.encode(encoding, "ignore"))
    assert decoded.text == text.encode(encoding, "ignore").decode(encoding)
    assert decoded.replaced == 0


@pytest.mark.parametrize(
    "word",
    [
        "größe",
        "café",
        "“pump”",
        "10 °C",
        "© 2024",
        "50 µm and 20 °C in the lab",
        "Ærø",
        "don’t — really",
        "a€b",
    ],
)
def test_a_few_western_signs_are_read_as_windows_1252(word: str) -> None:
    assert decode(word.encode("cp1252")).text == word


@pytest.mark.parametrize(
    "template",
    [
        "<html><head><meta charset={}></head><body>{}",
        '<html><head><meta http-equiv="Content-Type" content="text/html; charset={}"><body>{}',
        '<?xml version="1.0" encoding="{}"?><html><body>{}',
        "# -*- coding: {} -*-\n{}",
        "/* vim: set fileencoding={} : */\n{}",
        "Content-Type: text/plain; charset={}\n\n{}",
        '@charset "{}";\n{}',
    ],
)
@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("windows-1257", "žąsis"),
        ("ks_c_5601-1987", "펌프"),
        ("x-sjis", "弁"),
        ("ISO-8859-1", "“ça”"),
        ("koi8-u", "їжа"),
    ],
)
def test_a_declared_character_set_is_used_if_the_bytes_allow_it(template: str, label: str, text: str) -> None:
    python = {"ks_c_5601-1987": "cp949", "x-sjis": "cp932", "ISO-8859-1": "cp1252"}.get(label, label)
    assert text in decode(template.format(label, text).encode(python)).text


@pytest.mark.parametrize(
    "label",
    [
        "iso-8859-1",
        "utf-16",
        "utf-16le",
        "shift_jis",
        "hex",
        "utf-7",
        "idna",
        "no-such-set",
        "cp500",
        "unicode_escape",
    ],
)
def test_a_wrong_declaration_is_ignored(label: str) -> None:
    page = f"<html><meta charset={label}><p>{RUSSIAN}</p>".encode()
    assert RUSSIAN in decode(page).text
    assert RUSSIAN in decode(page + b"\xff").text
    assert decode(f"<meta charset=utf-8><p>{RUSSIAN}".encode("koi8-r")).text.endswith(RUSSIAN)


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "euc_jp", "euc_kr", "big5", "utf-16"])
def test_only_the_bad_byte_is_replaced_and_counted(encoding: str) -> None:
    text = {"gb18030": CHINESE, "euc_jp": JAPANESE, "euc_kr": KOREAN, "big5": TRADITIONAL}.get(
        encoding, RUSSIAN
    ) * 20
    data = text.encode(encoding)
    bad = b"\x00\xdc" if encoding == "utf-16" else b"\xff"
    middle = len(text[: len(text) // 2].encode(encoding))
    decoded = decode(data[:middle] + bad + data[middle:])
    assert decoded.text == text[: len(text) // 2] + "\ufffd" + text[len(text) // 2 :]
    assert decoded.replaced == 1


def test_the_set_and_the_replaced_bytes_are_facts_of_the_document(parser: Parser) -> None:
    parsed = parser.parse(("größe " * 200).encode() + b"\xff\xfe", name="a.md")
    assert (parsed.outcome, dict(parsed.facts)) == (
        Outcome.OK,
        {Fact.ENCODING: "utf-8", Fact.REPLACED_BYTES: 2},
    )
    assert dict(parser.parse(RUSSIAN.encode("koi8-r"), name="a.html").facts) == {Fact.ENCODING: "koi8-r"}


def test_a_text_with_gaps_was_read_in_part(parser: Parser) -> None:
    parsed = parser.parse(b"\xef\xbb\xbf" + "größe ".encode() * 10 + b"\xff" * 30, name="a.txt")
    assert parsed.outcome == Outcome.PARTIAL_TEXT
    assert "30 bytes are not text in utf-8" in parsed.detail


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("one\x0btwo\x1cthree\x1dfour\x1efive\x1fsix", "one\ntwo three four five six"),
        ("a\0b\x07c\x1ad\x7fe", "a b c d e"),
        ("one\x85two\u2028three\u2029four", "one\ntwo\nthree\n\nfour"),
        ("\x1b[1;31mred\x1b[0m rust\x1b[K\x1b[2Jnew", "red rust [2Jnew"),
        ("N\bNA\bAM\bME\bE _\bo_\bp_\bt o\b_", "NAME opt o"),
        ("foo\bbar", "foo bar"),
        ("\ufeffone\ufefftwo", "onetwo"),
        ("a\u00adb\u200bc\u200dd", "a\u00adb\u200bc\u200dd"),
    ],
)
def test_control_characters_separate_words_and_are_removed(raw: str, text: str) -> None:
    assert clean(raw) == text


@given(st.lists(st.from_regex(r"[a-zäж字]{1,6}", fullmatch=True), min_size=1, max_size=8), st.data())
def test_clean_never_fuses_two_words(words: list[str], data: st.DataObject) -> None:
    codes = {*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xFFFE, 0xFFFF} - {ord("\b")}
    controls = st.sampled_from([chr(code) for code in sorted(codes)])
    assert clean(words[0] + "".join(data.draw(controls) + word for word in words[1:])).split() == words


@given(st.binary(max_size=400))
def test_any_bytes_can_be_decoded(data: bytes) -> None:
    decoded = decode(data)
    assert not re.search("[\ud800-\udfff]", decoded.text)
    assert decode(b"<meta charset=big5>" + data).replaced <= len(data)
    clean(decoded.text)


@given(
    st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=2, max_size=30),
    st.lists(st.integers(0x80, 0xFF), min_size=1, max_size=8),
)
def test_bad_bytes_between_ascii_words_lose_no_word(words: list[str], bad: list[int]) -> None:
    data = b"\n".join(
        word.encode() + b" " + bytes([bad[number % len(bad)]]) + b" " for number, word in enumerate(words)
    )
    assert re.findall("[a-z]+", re.sub(r"[^\x00-\x7f]", " ", clean(decode(data).text))) == words
