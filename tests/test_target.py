"""What --target may say, what kit.toml may hold, and that a password is shown by none of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kit.collect.capture import capture
from kit.collect.connection import parameters
from kit.errors import TargetError
from kit.target import Target, config_path, resolve

SECRET = "correct-horse"
# No letter of these stands in any word of the kit's, so one of them in an output is a part of the password.
GREEK = "ΑΒΓΔΘΛΞΨΩ"
UNESCAPED = st.text(alphabet=GREEK + "@/#?:%&=' \\", min_size=1, max_size=12)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("KIT_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "kit.toml"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("service=shop", "service=shop"),
        ("host=db user=app dbname=shop", "host=db user=app dbname=shop"),
        (f"host=db user=app password={SECRET} dbname=shop", "host=db user=app dbname=shop"),
        (f"host=db password='{SECRET} user=Ω' dbname=shop", "host=db dbname=shop"),
        (f"host = 'my db' password = {SECRET}", "host=my db"),
        (f"password={SECRET}", "database"),
        ("postgresql://db/shop", "db/shop"),
        ("postgresql://app@db/shop", "app@db/shop"),
        (f"postgresql://app:{SECRET}@db:5433/shop?sslmode=require", "app@db:5433/shop"),
        (f"postgresql://app:{SECRET}@/shop?host=/cloudsql/a:b:c", "app@/cloudsql/a:b:c/shop"),
        (f"postgresql://app:{SECRET}@[::1]:5432/shop", "app@[::1]:5432/shop"),
        ("postgresql://service%40project.iam@db/shop", "service@project.iam@db/shop"),
        ("postgresql://", "database"),
    ],
)
def test_a_target_given_directly_is_named_by_user_host_and_database(text: str, name: str) -> None:
    target = resolve(text)

    assert target.name == name
    assert [(source.name, source.conninfo) for source in target.databases] == [("database", text)]


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql+psycopg", "postgres", "POSTGRESQL", "postgres+pg8000"])
def test_the_driver_of_a_sqlalchemy_url_is_left_out(scheme: str) -> None:
    target = resolve(f"{scheme}://app:{SECRET}@db/shop")

    assert target.databases[0].conninfo == f"postgresql://app:{SECRET}@db/shop"
    assert parameters(target.databases[0].conninfo)["password"] == SECRET


@pytest.mark.parametrize("url", [f"mysql://app:{SECRET}@db/shop", f"jdbc:postgresql://db/shop?user=app&password={SECRET}"])
def test_a_url_of_something_else_is_refused(url: str) -> None:
    with pytest.raises(TargetError, match=r"is not PostgreSQL\.") as caught:
        resolve(url)
    assert SECRET not in str(caught.value)


def test_a_keyword_string_whose_password_looks_like_a_url_is_a_keyword_string() -> None:
    target = resolve(f"host=db password=x://{SECRET}")

    assert target.name == "host=db"
    assert parameters(target.databases[0].conninfo)["password"] == f"x://{SECRET}"


def test_a_folder_is_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()

    assert resolve(str(tmp_path / "taken")) == Target("taken", bundle=tmp_path / "taken")


def test_a_folder_of_cloud_exports_may_be_added_to_any_target(tmp_path: Path) -> None:
    assert resolve("service=shop", tmp_path).cloud == tmp_path


def test_a_folder_of_cloud_exports_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    for missing in (tmp_path / "nothing", Path(__file__)):
        with pytest.raises(TargetError, match="The folder of cloud exports .* is not there"):
            resolve("service=shop", missing)


def test_cloud_exports_cannot_be_added_to_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="holds its own cloud evidence; capture again with --cloud"):
        resolve(str(tmp_path), tmp_path)


def test_a_name_in_the_configuration_goes_before_a_folder_of_that_name(config: Path) -> None:
    (config.parent / "shop").mkdir()
    (config.parent / "other").mkdir()
    config.write_text('[targets.shop]\nservice = "shop"\n')

    assert resolve("shop").databases[0].conninfo == "service=shop"
    assert resolve("./shop").bundle == Path("shop")
    assert resolve(str(config.parent / "shop")).bundle == config.parent / "shop"
    assert resolve("other").bundle == Path("other")
    config.write_text("[targets.shop")
    assert resolve("shop").bundle == Path("shop")


@pytest.mark.parametrize("text", ["", "  \n"])
def test_no_target_at_all_is_refused_with_the_ways_to_name_one(text: str) -> None:
    with pytest.raises(TargetError, match=r"No target is named\. Use --target"):
        resolve(text)


def test_a_configured_target_has_its_sources_its_exports_and_its_scope(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_API_DSN", f"postgresql+asyncpg://api:{SECRET}@db/shop")
    config.write_text("""
        [targets.shop]
        service = "shop"
        vantage = "laptop"
        cloud = "exports"
        out_of_scope = ["service"]
        exposed = ["PUBLIC", "web", "web", "Odd Role"]
        [targets.shop.sources.api]
        dsn_env = "SHOP_API_DSN"
    """)

    target = resolve("shop")

    assert [(s.name, s.conninfo, s.vantage) for s in target.databases] == [
        ("database", "service=shop", "laptop"),
        ("api", f"postgresql://api:{SECRET}@db/shop", "here"),
    ]
    assert (target.cloud, target.out_of_scope) == (config.parent / "exports", ("service",))
    assert [source.exposed for source in target.databases] == [("public", "web", "Odd Role")] * 2
    assert SECRET not in repr(target)


def test_a_target_that_exposes_nobody_is_not_one_that_says_nothing(config: Path) -> None:
    config.write_text("[targets.shop]\nservice = 'x'\nexposed = []\n[targets.other]\nservice = 'x'\n")

    assert resolve("shop").databases[0].exposed == ()
    assert resolve("other").databases[0].exposed is None
    assert resolve("service=x").databases[0].exposed is None


def test_the_configuration_is_found_upwards_and_by_the_variable(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('[targets.shop]\nservice = "shop"\n')
    below = config.parent / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert config_path() == config

    monkeypatch.setenv("KIT_CONFIG", str(below / "other.toml"))
    assert config_path() == below / "other.toml"
    with pytest.raises(TargetError, match=r"other\.toml cannot be read: No such file"):
        resolve("shop")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[targets.shop]\nservcie = 'x'", "has the unknown key 'servcie'. Known: cloud, cloudsql, dsn"),
        ("[targets.shop.sources.api]\ncloud = 'x'", "source 'api' in"),
        ("[targets.shop]", "names no source. Give it service"),
        ("[targets.shop.sources.cloud]\nservice = 'x'", "'cloud' in"),
        ("[targets.shop.sources.'../x']\nservice = 'x'", "cannot name a source"),
        ("[targets.shop]\ndsn_env = 'NOT_SET_ANYWHERE'", "reads 'database' from $NOT_SET_ANYWHERE, which is not set. Export"),
        ("[targets]\nshop = 'service=x'", "targets.shop in"),
        ("targets = 3", "is not a table"),
        ("[targets.shop]\nservice = 3", "service of [targets.shop] in"),
        ("[targets.shop]\ncloud = ['exports']", "is not a text in quotes"),
        ("[targets.shop]\nsources = 'x'", "is not a table"),
        ("[targets.shop]\nservice = 'x'\nout_of_scope = 'service'", "is not a list of layers"),
        ("[targets.shop]\nservice = 'x'\nexposed = 'anon'", 'is not a list of roles. Write it as ["public", "web"]'),
        ("[targets.shop]\nservice = 'x'\nexposed = [1]", "is not a list of roles"),
        ("[targets.shop]\ndsn = 'mysql://db/shop'", "is not PostgreSQL"),
        ("[targets.other]\nservice = 'x'", "names no target 'shop'. It names: other."),
        ("", "names no target 'shop'. It names: none."),
        ("[targets.shop", "is not valid TOML"),
    ],
)
def test_a_slip_in_the_configuration_is_told_in_a_sentence(config: Path, text: str, words: str) -> None:
    config.write_text(text)

    with pytest.raises(TargetError) as caught:
        resolve("shop")

    assert words in str(caught.value)


def test_a_configuration_that_is_no_text_is_told_in_a_sentence(config: Path) -> None:
    config.write_bytes(b"\xff\xfe")

    with pytest.raises(TargetError, match="is not valid TOML"):
        resolve("shop")


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://app:{SECRET}@db/shop",
        f"postgresql://app:{SECRET}/and/more@db/shop",
        f"postgresql+asyncpg://app:{SECRET}@db/shop",
        f"postgresql://app@db/shop?password={SECRET}",
        f"host=db password={SECRET}",
        f"host=db password = '{SECRET}'",
        f"host=db sslpassword={SECRET}",
    ],
)
def test_a_stored_password_is_refused_and_not_repeated(config: Path, dsn: str) -> None:
    config.write_text(f'[targets.shop]\ndsn = "{dsn}"\n')

    with pytest.raises(TargetError, match="holds a password") as caught:
        resolve("shop")

    assert SECRET not in repr(caught.value)


def test_a_dsn_without_password_is_taken(config: Path) -> None:
    config.write_text('[targets.shop]\ndsn = "postgresql://app@db:5432/shop"\n')

    assert resolve("shop").databases[0].conninfo == "postgresql://app@db:5432/shop"


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize("text", [f"app:{SECRET}@db/shop", f"postgresql:/app:{SECRET}@db", f"{SECRET} x"])
@pytest.mark.parametrize("written", [True, False])
def test_a_connection_string_with_a_slip_of_the_pen_is_not_repeated(config: Path, text: str, written: bool) -> None:
    if written:
        config.write_text("[targets.shop]\nservice = 'x'")

    with pytest.raises(TargetError) as caught:
        resolve(text)

    assert SECRET not in repr(caught.value)


def test_a_name_with_a_slip_of_the_pen_is_repeated(config: Path) -> None:
    config.write_text("[targets.shop]\nservice = 'x'")

    with pytest.raises(TargetError, match="names no target 'shpo'"):
        resolve("shpo")


@given(password=UNESCAPED)
@example(password="Ω@Ψ")
@example(password="Ω/Ψ")
@example(password="Ω/Ψ@Λ")
@example(password="Ω?host=Ψ")
@example(password="Ω#Ψ")
@example(password="Ω%Ψ")
@example(password="@Ψ")
@example(password=":Ψ")
def test_no_part_of_a_password_that_was_not_encoded_is_ever_shown(password: str) -> None:
    for text in (
        f"postgresql://app:{password}@db/shop",
        f"postgresql+asyncpg://app:{password}@db/shop?sslmode=require",
        f"host=db password={password} user=app",
        f"host=db password='{password}' user=app",
    ):
        shown = _shown(text)
        assert not set(GREEK) & set(shown), (text, shown)


@given(password=st.text(alphabet=GREEK + "@/#?:%&=' \\", min_size=1))
def test_a_password_that_was_encoded_reaches_libpq_whole(password: str) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in password.encode())

    target = resolve(f"postgresql+asyncpg://app:{encoded}@db/shop?sslmode=require")

    assert parameters(target.databases[0].conninfo)["password"] == password
    assert target.name == "app@db/shop"


def test_a_password_cut_at_its_own_sign_is_refused_with_the_way_out() -> None:
    for password in ("a@b", "a/b", "a@b/c", "a/b@c"):
        with pytest.raises(TargetError, match="percent-encode"):
            resolve(f"postgresql://app:{password}@db/shop")


def test_a_connection_string_that_libpq_refuses_is_a_target_error_without_the_secret() -> None:
    target = resolve(f"postgresql://app:%{SECRET}@db/shop")

    with pytest.raises(TargetError, match="percent-encode") as caught:
        capture(target)

    assert SECRET not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def _shown(text: str) -> str:
    """Return all that the kit says of a connection string before and at its first use."""
    try:
        target = resolve(text)
        shown = f"{target} {target!r} {target.name} {target.databases[0]!s} {target.databases[0]!r}"
        given = parameters(target.databases[0].conninfo)
        # These stand in the evidence of the attempt to connect.
        return shown + "".join(str(given.get(key)) for key in ("host", "port", "dbname", "user"))
    except TargetError as error:
        return f"{error} {error!r} {error.hint}"
