"""The one table of error messages: PostgreSQL's own (backend/po, untranslated), libpq's, and those of drivers and ORMs.

Every quantifier has a bound, and what is read is of bounded length: a hostile text costs no more than a long one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Trouble = Literal[
    "missing relation", "missing column", "missing schema", "missing function", "missing database",
    "denied", "not owner", "row security", "refused login", "no rows", "wrong statement", "other",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pattern:
    """One kind of message: the trouble it tells of, the SQLSTATEs it belongs to, and the words with the names in them.

    Groups are named after the fields of an ErrorReading; `named` is a qualified name whose kind is in group `kind`, or
    that of `names`.
    """

    trouble: Trouble
    sqlstates: tuple[str, ...]
    words: re.Pattern[str]
    names: str = "relation"


# The server writes names as they are, between quotes that it does not double.
_QUOTED = r"""["`'](?P<named>[^\n]{1,200}?)["`']"""
_BARE_NAME = r"""(?!(?:does|is|was|not|or|and|for|in|of|to)\b)(?P<bare>[\w$]{1,63}(?:\.[\w$]{1,63})?)"""
_MISSING = r"""\s{1,3}(?:does\snot|doesn't)\sexist"""
# Of relations, functions and schemas it writes the bare name, blanks and all, to the end of the line.
_TO_THE_END = r"""(?P<rest>[^\n"'`\[({,;]{1,63}?)(?=\s{0,3}(?:$|[\n"'`\[({,;]|\sat\scharacter\b))"""
_SAID = r"""(?:ERROR|FATAL|pq|message\W{1,4}|[A-Za-z]{4,40}(?:Error|Privilege|Exception))\W{1,5}"""
_KINDS = r"""(?P<kind>column|table|relation|view|materialized\sview|foreign\stable|partitioned\stable|sequence|schema|function
    |procedure|routine|aggregate|database|type|domain|language|large\sobject|foreign\sserver|foreign-data\swrapper|tablespace
    |parameter|publication|subscription|index|operator)"""
_RELATIONS = r"(?:relation|table|view|materialized\sview|foreign\stable|sequence|index)"


def _pattern(trouble: Trouble, states: str, words: str, names: str = "relation") -> Pattern:
    # A blank in the words is written \s, so that they can be laid out.
    return Pattern(trouble, tuple(states.split()), re.compile(words, re.IGNORECASE | re.VERBOSE), names)


# The first of those that name something tells the trouble, by where it stands in the text; else the first of all.
NAMING = (
    _pattern(
        "missing column",
        "42703",
        rf"""column\s["`'](?P<column>[^\n]{{1,200}}?)["`']\sof\s(?:relation|table)\s{_QUOTED}{_MISSING}
        |could\snot\sfind\sthe\s'(?P<column2>[^\n']{{1,63}})'\scolumn\sof\s'(?P<named2>[^\n']{{1,63}})'""",
    ),
    _pattern("missing column", "42703", rf"column\s(?!reference)(?:{_QUOTED}|{_BARE_NAME}){_MISSING}", "column"),
    _pattern(
        "missing relation",
        "42P01",
        rf"""(?<!of\s){_RELATIONS}\s(?:{_QUOTED}|{_BARE_NAME}){_MISSING}
        |could\snot\sfind\sthe\stable\s'(?P<named2>[^\n']{{1,130}})'|no\ssuch\stable:\s(?P<named3>[\w$.]{{1,130}})""",
    ),
    _pattern(
        "missing schema", "3F000", rf"schema\s(?:{_QUOTED}|{_BARE_NAME}){_MISSING}|no\sschema\shas\sbeen\sselected", "schema"
    ),
    _pattern(
        "missing function",
        "42883",
        rf"""(?:function|procedure|routine|aggregate)\s(?P<named>[^\n()]{{1,130}})\((?P<arguments>[^\n()]{{0,300}}(?:\(\d{{1,4}}\)[^\n()]{{0,300}})?)\)
        {_MISSING}|could\snot\sfind\sthe\sfunction\s(?P<named2>[\w$.]{{1,130}})""",
        "function",
    ),
    _pattern("missing database", "3D000", rf"database\s(?:{_QUOTED}|{_BARE_NAME}){_MISSING}", "database"),
    _pattern(
        "denied",
        "42501",
        r"""permission\sdenied\sfor\scolumn\s["'](?P<column>[^\n]{1,200}?)["']\sof\s(?:relation|table)\s["'](?P<named>[^\n]{1,200}?)["']""",
    ),
    _pattern("denied", "42501", rf"{_SAID}permission\sdenied\sfor\s{_KINDS}\s(?:{_QUOTED}|{_TO_THE_END})"),
    _pattern("denied", "42501", rf"permission\sdenied\sfor\s{_KINDS}\s(?:{_QUOTED}|{_BARE_NAME})"),
    _pattern("not owner", "42501", rf"{_SAID}must\sbe\s(?:the\s)?owner\sof\s{_KINDS}\s(?:{_QUOTED}|{_TO_THE_END})"),
    _pattern("not owner", "42501", rf"must\sbe\s(?:the\s)?owner\sof\s{_KINDS}\s(?:{_QUOTED}|{_BARE_NAME})"),
    _pattern(
        "row security",
        "42501",
        rf"""(?:violates|affected\sby)\srow-level\ssecurity\spolicy(?:\s"(?P<policy>[^\n]{{1,63}}?)")?(?:\s\(USING\sexpression\))?
        \sfor\stable\s(?:{_QUOTED}|{_BARE_NAME})""",
    ),
    _pattern(
        "refused login",
        "28000",
        r"""(?:no\spg_hba\.conf\sentry|pg_hba\.conf\srejects\sconnection)\sfor\s[^\n]{0,120}?user\s"(?P<role>[^"\n]{1,63})"
        (?:,\sdatabase\s"(?P<database>[^"\n]{1,63})")?""",
    ),
    _pattern("refused login", "28P01 28000", r"""password\sauthentication\sfailed\sfor\suser\s["'](?P<role>[^\n]{1,63}?)["']"""),
    _pattern("refused login", "28000", r"""authentication\sfailed\sfor\suser\s["'](?P<role>[^\n]{1,63}?)["']"""),
    _pattern("refused login", "28000", r"""role\s["'](?P<role>[^\n]{1,63}?)["']\sis\snot\spermitted\sto\slog\sin"""),
    _pattern("refused login", "28P01 28000", rf"""(?:role|user)\s["'](?P<role>[^\n]{{1,63}}?)["']{_MISSING}"""),
    _pattern("refused login", "53300", r"""too\smany\sconnections\sfor\srole\s["'](?P<role>[^\n]{1,63}?)["']"""),
    _pattern("refused login", "53300", r"""too\smany\sconnections\sfor\sdatabase\s["'](?P<database>[^\n]{1,63}?)["']"""),
    # Prisma: P1000, P1010
    _pattern("refused login", "28P01", r"credentials\sfor\s[`'](?P<role>[^`'\n]{1,63})[`']\sare\snot\svalid"),
    _pattern(
        "refused login",
        "28000",
        r"user\s[`'](?P<role>[^`'\n]{1,63})[`']\swas\sdenied\saccess\son\sthe\sdatabase\s[`'](?P<database>[^`'\n]{1,130})[`']",
    ),
)  # fmt: skip
# These tell what kind of trouble it is, and name nothing.
VAGUE = (
    _pattern("wrong statement", "42P01", r"(?:missing|invalid\sreference\sto)\sFROM-clause\sentry"),
    _pattern(
        "missing relation",
        "42P01",
        r"(?<!of\s)relation\s[^\n]{1,200}\sdoes\snot\sexist|table\s(?:[^\n]{1,200}\s)?(?:does\snot|doesn't)\sexist|\bPGRST205\b|\bP2021\b"
        r"|\bundefined_?table(?:error)?\b|no\ssuch\stable",
    ),
    _pattern("missing column", "42703", r"column\s[^\n]{1,200}\sdoes\snot\sexist"),
    _pattern("missing column", "42703", r"\bundefined_?column(?:error)?\b|\bP2022\b|\bPGRST204\b"),
    _pattern("missing schema", "3F000", r"schema\s[^\n]{1,200}\sdoes\snot\sexist|\binvalid_?schema_?name(?:error)?\b"),
    _pattern("missing function", "42883", r"function\s[^\n]{1,400}\sdoes\snot\sexist"),
    _pattern("missing function", "42883", r"\bundefined_?function(?:error)?\b|\bPGRST202\b"),
    _pattern("missing function", "42883", r"operator\sdoes\snot\sexist"),
    _pattern("missing database", "3D000", r"database\s[^\n]{1,200}\sdoes\snot\sexist"),
    _pattern("missing database", "3D000", r"\binvalid_?catalog_?name(?:error)?\b|\bP1003\b"),
    _pattern("refused login", "28P01 28000", r"role\s[^\n]{1,200}\sdoes\snot\sexist|password\sauthentication\sfailed"),
    _pattern("refused login", "28P01", r"\binvalid_?password(?:error)?\b|\bP1000\b"),
    _pattern("refused login", "28000", r"no\spg_hba\.conf\sentry|not\spermitted\sto\slog\sin|\bP1010\b"),
    _pattern("refused login", "28000", r"\binvalid_?authorization_?specification(?:error)?\b"),
    _pattern("row security", "42501", r"row-level\ssecurity|row\slevel\ssecurity"),
    _pattern("not owner", "42501", r"must\sbe\s(?:the\s)?owner"),
    _pattern("denied", "42501", r"permission\sdenied|\binsufficient_?privilege(?:error)?\b"),
    _pattern("other", "53300", r"too\smany\s(?:clients|connections)|connection\sslots"),
    _pattern("other", "08006 08001", r"connection\s(?:[^\n]{0,200}\s)?refused|could\snot\sconnect|no\ssuch\sfile\sor\sdirectory"),
    _pattern("other", "08006 08001", r"is\snot\sreachable|timed\sout|timeout\sexpired"),
    _pattern("other", "08001 08006", r"can't\sreach\sdatabase\sserver|\bP1001\b"),
    _pattern("other", "57P03", r"starting\sup|shutting\sdown|recovery\smode"),
    _pattern("other", "57014", r"statement\stimeout|canceling\sstatement|slow|takes\stoo\slong|hangs?\b"),
    _pattern(
        "other",
        "57014 08006",
        r"\b(?:database|db|connection|query|request)s?\s(?:has\s)?time(?:d\s)?-?outs?\b|\btimeouts?\b",
    ),
    _pattern("other", "55P03", r"lock\stimeout|could\snot\sobtain\slock"),
    _pattern("other", "40P01", r"deadlock"),
    _pattern("other", "53100", r"no\sspace\sleft|disk\sfull"),
    _pattern(
        "no rows",
        "",
        r"\b(?:no|zero|0)\s(?:rows|records|results)\b|\bempty\s(?:result|list|array|response)|\breturns\snothing\b|\bsees?\snothing\b"
        r"|\bPGRST116\b|\bno_?data_?found\b|\bP0002\b|\b\(0\srows\)",
    ),
)  # fmt: skip
_NAMED = (
    r"""(?:"([^"\n]{1,200})"|`([^`\n]{1,200})`|'([^'\n]{1,200})'"""
    r"""|(?!(?:does|is|was|not|or|the|our|my|any|all|table|relation)\b)([\w$.]{1,130}))"""
)
# What a text speaks of without saying that it is missing or denied.
MENTIONED = re.compile(rf"(?:relation|table)\s{{1,5}}{_NAMED}", re.IGNORECASE)
# "Zero rows of notes": only where the text is about rows that are not there.
ROWS_OF = re.compile(rf"\b(?:rows|records|results)\s{{1,5}}(?:of|from|in)\s{{1,5}}(?:the\s|table\s)?{_NAMED}", re.IGNORECASE)
# The SQLSTATE alone tells the trouble, where no words do.
TROUBLE_OF_STATE: dict[str, Trouble] = {
    "42P01": "missing relation",
    "42703": "missing column",
    "3F000": "missing schema",
    "42883": "missing function",
    "3D000": "missing database",
    "42501": "denied",
    "28P01": "refused login",
    "28000": "refused login",
    "02000": "no rows",
    "P0002": "no rows",
}
KNOWN_STATES = frozenset({state for row in (*NAMING, *VAGUE) for state in row.sqlstates} | {"57P03"})
