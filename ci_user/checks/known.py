"""CIUSER_6: what the user may do is known when planning."""

from __future__ import annotations

from ci_user.checks.attachments import ARN_ATTRIBUTES, DOCUMENT_TYPES, attached_arns
from ci_user.checks.documents import UnreadableDocumentError, statements
from ci_user.checks.protocol import CheckContext
from ci_user.plan_model import Plan, Resource


class KnownAtPlanTime:
    """What is unknown until apply would be applied unseen."""

    id = "CIUSER_6"
    name = "Policy documents and attachments are known when planning"
    resource_types = DOCUMENT_TYPES | frozenset(ARN_ATTRIBUTES)
    never_acceptable = True
    fix = "write documents as text and build ARNs from names, so that no other resource must exist first"

    def evaluate(self, resource: Resource, plan: Plan, context: CheckContext) -> str | None:  # noqa: ARG002
        """Refuse a document or a list of ARNs that is unknown, sensitive or not readable."""
        if resource.mode == "data":
            return None
        if resource.type in ARN_ATTRIBUTES:
            attribute = ARN_ATTRIBUTES[resource.type]
            if resource.type == "aws_iam_role" and resource.values.get(attribute) is None:
                # A role's own list is computed and deprecated; attachments of their own tell.
                return None
            known = attached_arns(resource) is not None and not plan.unknown(resource.address, attribute)
            return None if known else f"{attribute} is not known until apply, or hidden"
        document = resource.values.get("policy")
        if not isinstance(document, str) or plan.unknown(resource.address, "policy"):
            return "the document is not known until apply"
        try:
            statements(document)
        except UnreadableDocumentError as error:
            return f"the document cannot be read: {error}"
        return None
