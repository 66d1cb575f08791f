"""Delivery: the image's repository, and what workflows on GitHub may do here, by OIDC and without any key."""

import aws_cdk as cdk
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.access import NO_RESOURCES, LakeStack, allow, removal, role_for
from infra.settings import Settings
from infra.stacks.storage import StorageStack

_GITHUB = "token.actions.githubusercontent.com"
_PUSH: tuple[str, ...] = ("BatchCheckLayerAvailability", "BatchGetImage", "CompleteLayerUpload", "DescribeImages")
_PUSH += ("GetDownloadUrlForLayer", "InitiateLayerUpload", "PutImage", "UploadLayerPart")
_STACKS = "Stacks have ids behind their names, and these are the environment's own"
BOOTSTRAP_ROLES = ("deploy", "file-publishing", "image-publishing", "lookup")
"""The roles that `cdk bootstrap` makes, and all that a deployment may become."""


class DeliveryStack(LakeStack):
    """Delivery; `repository` has the image of Dagster.

    Three roles, each for what one step of a workflow does: `deploy` may become the roles of CDK's bootstrap and nothing
    else, `publish` may push the image and put what remote jobs run, `diff` may look at stacks, for pull requests.
    """

    def __init__(self, scope: Construct, name: str, settings: Settings, storage: StorageStack) -> None:
        super().__init__(scope, name, settings)
        self.know_key(storage.key)
        self.repository = ecr.Repository(
            self,
            "Repository",
            repository_name=settings.prefix,
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            encryption=ecr.RepositoryEncryption.KMS,
            encryption_key=self.key,
            removal_policy=removal(settings),
            empty_on_delete=not settings.protects,
            lifecycle_rules=[ecr.LifecycleRule(description="Enough to go back to", max_image_count=30)],
        )
        if settings.github:
            self._trust_github(storage)

    def _trust_github(self, storage: StorageStack) -> None:
        provider = f"arn:aws:iam::{self.settings.account}:oidc-provider/{_GITHUB}"
        if self.settings.github_provider:
            made = iam.OidcProviderNative(self, "GitHub", url=f"https://{_GITHUB}", client_ids=["sts.amazonaws.com"])
            provider = made.oidc_provider_arn
        here = f"environment:{self.settings.env}"
        deploy = self._role("deploy", provider, here, "Deploys by the roles of CDK's bootstrap")
        allow(deploy, ["sts:AssumeRole"], *(arn for role in BOOTSTRAP_ROLES for arn in self._bootstrap(role)))
        publish = self._role("publish", provider, here, "Publishes the image and what remote jobs run")
        allow(publish, [f"ecr:{action}" for action in _PUSH], self.repository.repository_arn)
        allow(publish, ["ecr:GetAuthorizationToken"], "*", because=NO_RESOURCES)
        storage.access.put(publish, "artifacts", "remote")
        diff = self._role("diff", provider, "pull_request", "Shows what a pull request would change")
        stacks = [
            f"arn:aws:cloudformation:{r}:{self.settings.account}:stack/{self.settings.prefix}-*/*"
            for r in self._regions
        ]
        looked = ("DescribeStacks", "GetTemplate", "ListStackResources")
        allow(diff, [f"cloudformation:{action}" for action in looked], *stacks, because=_STACKS)

    def _role(self, name: str, provider: str, subject: str, description: str) -> iam.Role:
        told = {f"{_GITHUB}:aud": "sts.amazonaws.com", f"{_GITHUB}:sub": f"repo:{self.settings.github}:{subject}"}
        workflow, full = iam.WebIdentityPrincipal(provider, {"StringEquals": told}), f"{self.settings.prefix}-{name}"
        lasts = cdk.Duration.hours(2)
        return role_for(self, name.title(), workflow, description, role_name=full, max_session_duration=lasts)

    def _bootstrap(self, role: str) -> list[str]:
        """A role of the bootstrap, in each region that has stacks."""
        account = self.settings.account
        return [f"arn:aws:iam::{account}:role/cdk-hnb659fds-{role}-role-{account}-{region}" for region in self._regions]

    @property
    def _regions(self) -> list[str]:
        return sorted({self.settings.region, self.settings.archive_place})
