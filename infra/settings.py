"""What differs between environments, and what all of them are told: the only place where dev, staging and prod part.

Belongs here: figures, names and switches. What is built of them is in `stacks/`.
"""

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from datalake_assets.lake.store.layout import Layout

_DATASETS = Path(__file__).parent.parent / "datalake_assets" / "datasets"
_ACCOUNT = r"\d{12}", "account; write its twelve digits"
_REGION = r"(?!cn-|us-(gov|iso))[a-z]{2}(-[a-z]+)+-\d", "region; write one such as eu-west-1 (no China, GovCloud)"
_FORMS = {  # of settings that are text: what AWS takes, and how it is told; those that are not needed may be empty
    "account": _ACCOUNT,
    "region": _REGION,
    "zones": (r"(?!.*([a-z]).*\1)[a-z](, ?[a-z])+", "list of two zones' letters or more; write one such as a,b"),
    "peer_account": _ACCOUNT,
    "peer_region": _REGION,
    "archive_region": _REGION,
    "source_secret": (r"arn:aws:secretsmanager:.+", "ARN of a secret"),
    "source_secret_key": (r"arn:aws:kms:.+", "ARN of a key"),
    "mysql_certificate": (r"arn:aws:dms:.+", "ARN of a certificate of DMS"),
    "webserver_certificate": (r"arn:aws:acm:.+", "ARN of a certificate of ACM"),
    "alarm_email": (r"\S+@\S+", "address"),
    "github": (r"[^/]+/[^/]+", "repository; write one such as octo/lake"),
}
_NEEDED = ("account", "region", "zones")
LOG_DAYS = (7, 30, 90, 180, 365, 731)  # a week, one, three and six months, one and two years
_CHOICES = {
    "replication_capacity": (1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 384),
    "redshift_capacity": range(8, 129, 8),
    "log_days": LOG_DAYS,
}
_MAY_BE_ZERO = ("nat_gateways", "bronze_days", "budget")
_WORDS = {"true": True, "false": False}
_REDSHIFT_ZONES = 3
_WIDEST, _NARROWEST = 16, 18  # a VPC has no more addresses; three zones' subnets need no less


class SettingsError(ValueError):
    """A setting can't be used; the message names it and says what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One environment. Any field can stand in `infra/own.toml`, or be given as context: `-c account=123456789012`.

    Raises `SettingsError` when made of what can't be deployed.
    """

    env: Literal["dev", "staging", "prod"]
    account: str
    region: str = "us-east-1"
    datasets: Path = _DATASETS  # the folder of the dataset files: mappings, streams and catalogue are made of them
    # --- network
    cidr: str
    zones: str = "a,b"  # the letters of the availability zones
    nat_gateways: int = 0
    interface_endpoints: bool = False  # reach AWS' services from within, as EMR and tasks have to without NAT
    peer_account: str = ""  # the account of a source's network to peer with (empty: none); the next three say which
    peer_region: str = ""
    peer_vpc: str = ""
    peer_cidr: str = ""
    peer_route_tables: str = ""  # route tables over there, with commas, that lead back here once `peering` is known
    peer_security_group: str = ""  # of the source's database, which lets the lake in once `peering` is known
    peering: str = ""  # the connection's id, as the network stack puts out: the accepter stack is deployed with it
    # --- storage
    log_days: int = 30  # how long logs are kept
    version_days: int = 30  # how long overwritten and deleted objects can be brought back
    bronze_days: int = 0  # after how many days what has landed expires; 0: never. Silver keeps what it said
    archive: bool = False  # whether all that lands is copied to the archive (Glacier, then Deep Archive)
    archive_region: str = ""  # where the archive is; empty: in the lake's own region
    # --- sources
    source: Literal["none", "aurora", "external"] = "none"  # what DMS replicates: made here, or where the secret leads
    source_name: str = "shop"  # the database's name on its server
    source_secret: str = ""  # the ARN of a secret with host, port, username and password of an external source
    source_secret_key: str = ""  # the ARN of the KMS key of that secret, where it is not AWS' own
    source_cidr: str = ""  # where the external source is
    source_capacity: int = 4  # the most Aurora capacity units of each database that is made here
    replication_capacity: int = 2  # the most DMS capacity units
    dms_roles: bool = True  # whether to make the two roles that DMS wants under fixed names, once in an account
    mysql_replica: bool = False  # whether the source's tables are replicated to an Aurora MySQL too
    mysql_certificate: str = ""  # the ARN of RDS' certificates as DMS imported them, by which it knows that MySQL
    # --- streams
    kinesis: bool = False  # whether each event stream can be written to by way of a Kinesis stream too
    ingest_rate: int = 50  # requests a second that the ingest API takes, and below at once, before it says 429
    ingest_burst: int = 100
    ingest_origins: str = ""  # origins, with commas, whose pages may call the ingest API; empty: none
    # --- processing
    glue_workers: int = 10  # the most workers of a Glue run that nobody sized
    emr: bool = False
    emr_vcpus: int = 64  # the most vCPUs that EMR Serverless takes at once
    fallback: bool = False  # whether the schedule that runs the lake without Dagster is on: only while Dagster is not
    # --- serving
    athena_gigabytes: int = 10  # the most that one query in Athena may read
    redshift: bool = False
    redshift_capacity: int = 8  # the least capacity (RPU) of Redshift Serverless; it costs while queries run
    mart: bool = False  # whether to make the data mart: an Aurora PostgreSQL with the schemas `mart` and `audit`
    mart_capacity: int = 2
    quicksight_user: str = ""  # such as `admin/jane`, who gets data sets and dashboard; empty: none are made
    # --- orchestration
    dagster: Literal["none", "ecs", "hybrid"] = "none"  # who runs the lake: nobody here, ECS, or Dagster+ by its agent
    image_tag: str = "latest"  # the image of Dagster in the environment's repository; delivery gives the commit
    webserver_clients: str = ""  # networks, with commas, beside the lake's own, that may open Dagster's pages: a VPN's
    webserver_certificate: str = ""  # the ARN of these pages' certificate; empty: no TLS, inside the network
    dagster_organization: str = ""  # the organization in Dagster+
    dagster_agent: str = "docker.io/dagster/dagster-cloud-agent:1.13.27"  # of the same version as the lake's Dagster
    # --- watching
    alarm_email: str = ""
    slack_workspace: str = ""  # the id of a Slack workspace that AWS Chatbot was let into, and of its channel
    slack_channel: str = ""
    stale_hours: int = 2  # after how many hours without new data in silver an alarm is raised
    budget: int = 100  # dollars a month, 0: none; the topic is told at 80 % of them, and when the forecast exceeds them
    # --- governance
    lake_formation: bool = False  # whether analysts see only those columns of silver and gold that are not personal
    personal_columns: str = "name,email,user_id,customer_name,payload,_unknown,raw"  # those, in whatever table they are
    trail: bool = False  # whether CloudTrail keeps who read and wrote which object
    # --- delivery
    github: str = ""  # the repository, such as `octo/lake`, whose workflows may deploy here; empty: none
    github_provider: bool = True  # whether to make GitHub's identity provider, once in an account
    branches: str = ""  # the branches, with commas and as patterns, that are deployed here

    def __post_init__(self) -> None:
        """Refuse what AWS would, and what contradicts itself."""
        self._check_forms()
        self._check_networks()
        self._check_running()
        peer = [bool(part) for part in (self.peer_account, self.peer_vpc, self.peer_cidr, self.peer_region)]
        if any(peer) != all(peer):
            raise SettingsError("peer_account: a peering needs peer_vpc, peer_cidr and peer_region too, all or none")
        if bool(self.slack_workspace) != bool(self.slack_channel):
            raise SettingsError("slack_workspace: Slack needs slack_channel too, and both or none")
        if self.archive and self.archive_region == self.region:
            raise SettingsError(f"archive_region: the lake is in {self.region} too; name another (empty: it shall be)")
        if not self.datasets.is_dir():
            raise SettingsError(f"datasets: {self.datasets} is no folder")

    def _check_forms(self) -> None:
        for name, (form, told) in _FORMS.items():
            given = getattr(self, name)
            if not re.fullmatch(form, given) and (given or name in _NEEDED):
                raise SettingsError(f"{name}: {given!r} is no {told}")
        choices = {name: get_args(kind) for name, kind in get_type_hints(Settings).items() if get_args(kind)}
        for name, allowed in {**choices, **_CHOICES}.items():
            if getattr(self, name) not in allowed:
                raise SettingsError(f"{name}: write one of {tuple(allowed)}, not {getattr(self, name)}")
        for name in (field.name for field in fields(self) if field.type is int and field.name not in _MAY_BE_ZERO):
            if getattr(self, name) == 0:
                raise SettingsError(f"{name}: it can't be 0")

    def _check_running(self) -> None:
        reached = self.nat_gateways or self.interface_endpoints
        if self.source == "external" and not (self.source_secret and self.source_cidr):
            raise SettingsError("source: an external one needs source_secret and source_cidr")
        if self.source == "aurora" and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", self.source_name):
            raise SettingsError(f"source_name: Aurora takes letters, digits and underscores, not {self.source_name!r}")
        if self.mysql_replica and self.source == "none":
            raise SettingsError("mysql_replica: there is no source to replicate; set source")
        if self.dagster == "ecs" and not reached:
            raise SettingsError("dagster: tasks reach no registry; set interface_endpoints or nat_gateways")
        if self.dagster == "hybrid" and not (self.nat_gateways and self.dagster_organization):
            raise SettingsError("dagster: an agent of Dagster+ needs nat_gateways and dagster_organization")
        if self.redshift and len(self.listed("zones")) < _REDSHIFT_ZONES:
            raise SettingsError(f"redshift: it wants {_REDSHIFT_ZONES} zones; set zones to a,b,c")
        if self.mysql_replica and not self.mysql_certificate:
            raise SettingsError("mysql_replica: DMS wants RDS' certificates; set mysql_certificate (infra/README.md)")
        if (self.source != "none" or self.emr) and not reached:
            raise SettingsError("source, emr: they stand in private subnets; set nat_gateways or interface_endpoints")

    def _check_networks(self) -> None:
        clients = {f"webserver_clients, {n + 1}.": text for n, text in enumerate(self.listed("webserver_clients"))}
        others = {name: getattr(self, name) for name in ("peer_cidr", "source_cidr") if getattr(self, name)}
        for name, given in {"cidr": self.cidr, **others, **clients}.items():
            try:
                network = ipaddress.IPv4Network(given)
            except ValueError as error:
                raise SettingsError(f"{name}: {error}; write one such as 10.10.0.0/16") from None
            if name == "cidr" and not _WIDEST <= network.prefixlen <= _NARROWEST:
                raise SettingsError(f"cidr: {given} has not the size; write one from /{_WIDEST} to /{_NARROWEST}")
        if self.peer_cidr and ipaddress.ip_network(self.cidr).overlaps(ipaddress.ip_network(self.peer_cidr)):
            raise SettingsError(f"peer_cidr: {self.peer_cidr} overlaps {self.cidr}, and such networks can't be peered")

    @property
    def prefix(self) -> str:
        """What the names of resources begin with."""
        return f"datalake-{self.env}"

    @property
    def protects(self) -> bool:
        """Whether data and stacks outlive a mistake: databases and stacks can't be deleted, buckets stay."""
        return self.env != "dev"

    @property
    def availability_zones(self) -> list[str]:
        """The zones by name."""
        return [f"{self.region}{letter}" for letter in self.listed("zones")]

    @property
    def archive_place(self) -> str:
        """The region of the archive."""
        return self.archive_region or self.region

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something in the environment's account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def bucket(self, zone: str) -> str:
        """The name of a zone's bucket: all can be told without looking, so that no stack waits for another's."""
        region = self.archive_place if zone == "archive" else self.region
        return f"{self.prefix}-{zone}-{self.account}-{region}"

    def database(self, zone: str) -> str:
        """The name of a zone's database in the Glue catalogue; SQL wants no dashes."""
        return f"{self.prefix}_{zone}".replace("-", "_")

    @property
    def layout(self) -> Layout:
        """The places of the zones, as the lake is told of them."""
        zones = {zone: f"s3://{self.bucket(zone)}" for zone in ("bronze", "silver", "gold", "quarantine")}
        return Layout(root=f"s3://{self.bucket('lake')}", **zones)

    @property
    def code_place(self) -> str:
        """Where delivery puts what `make archive` builds (`DATALAKE_CODE`)."""
        return f"s3://{self.bucket('artifacts')}/remote"

    @property
    def pipes_place(self) -> str:
        """Where runs and remote jobs talk to each other (`DATALAKE_PIPES`)."""
        return f"s3://{self.bucket('pipes')}/steps"

    def listed(self, name: str) -> list[str]:
        """The parts of a setting that holds several, with commas."""
        return [part.strip() for part in getattr(self, name).split(",") if part.strip()]


_DIFFERENCES: Mapping[str, tuple[Any, Any, Any]] = {  # dev, staging, prod
    "account": ("111111111111", "222222222222", "333333333333"),
    "cidr": ("10.10.0.0/16", "10.20.0.0/16", "10.30.0.0/16"),
    "zones": ("a,b", "a,b", "a,b,c"),
    "nat_gateways": (0, 1, 2),
    "interface_endpoints": (False, True, True),
    "log_days": (7, 30, 365),
    "version_days": (7, 30, 90),
    "bronze_days": (90, 0, 0),
    "archive": (False, False, True),
    "archive_region": ("", "", "us-west-2"),
    "source": ("none", "aurora", "aurora"),
    "source_capacity": (4, 4, 16),
    "replication_capacity": (2, 2, 8),
    "kinesis": (False, True, True),
    "ingest_rate": (50, 50, 500),
    "ingest_burst": (100, 100, 1_000),
    "glue_workers": (10, 10, 20),
    "emr": (False, True, True),
    "emr_vcpus": (64, 64, 400),
    "athena_gigabytes": (10, 10, 1_000),
    "redshift": (False, False, True),
    "redshift_capacity": (8, 8, 16),
    "mart": (False, True, True),
    "mart_capacity": (2, 2, 8),
    "dagster": ("none", "ecs", "ecs"),
    "budget": (50, 1_500, 5_000),
    "lake_formation": (False, True, True),
    "trail": (False, True, True),
    "branches": ("dev,develop-*", "staging,test", "main"),
}
ENVIRONMENTS: Mapping[str, Settings] = {
    "dev": Settings(env="dev", **{name: dev for name, (dev, _, _) in _DIFFERENCES.items()}),
    "staging": Settings(env="staging", **{name: staging for name, (_, staging, _) in _DIFFERENCES.items()}),
    "prod": Settings(env="prod", **{name: prod for name, (_, _, prod) in _DIFFERENCES.items()}),
}


def own_settings(env: str, file: Path) -> dict[str, object]:
    """What a file of one's own, if it is there, says of all environments (table `all`) and of this one.

    Raises `SettingsError` where it can't be read, or has other tables.
    """
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file.name}: {error}") from None
    for name, table in told.items():
        if name not in {"all", *ENVIRONMENTS} or not isinstance(table, dict):
            raise SettingsError(
                f"{file.name}: {name} is no table of an environment; write [all], [dev], [staging] or [prod]"
            )
    return {**told.get("all", {}), **told.get(env, {})}


def settings_of(env: str, given: Mapping[str, object]) -> Settings:
    """An environment with what is given in place of its own; texts are read as what the field holds.

    Raises `SettingsError` for another environment, an unknown field or a value that does not fit.
    """
    if env not in ENVIRONMENTS:
        raise SettingsError(f"env: {env!r} is no environment; write one of {', '.join(ENVIRONMENTS)}")
    known = {field.name for field in fields(Settings)}
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else "infra/settings.py has them all"
            raise SettingsError(f"{name}: there is no such setting; {remedy}")
        changes[name] = _read(name, value, getattr(ENVIRONMENTS[env], name))
    return replace(ENVIRONMENTS[env], **changes)


def _read(name: str, value: object, like: object) -> object:
    """A value as the field's own kind."""
    if isinstance(like, bool):
        if str(value).lower() not in _WORDS:
            raise SettingsError(f"{name}: {value!r} is neither true nor false")
        return _WORDS[str(value).lower()]
    if isinstance(like, int):
        if not str(value).isdecimal():
            raise SettingsError(f"{name}: {value!r} is no whole number")
        return int(str(value))
    return Path(str(value)).absolute() if isinstance(like, Path) else str(value)
