locals {
  # Known when planning, so that everything that refers to the policy is in the plan.
  arn = "arn:${var.partition}:iam::${var.account_id}:policy/${var.name}"
}

resource "aws_iam_policy" "this" {
  name        = var.name
  description = "Managed by ci-user: what a CI/CD pipeline may do."
  policy      = var.document
  tags        = var.tags

  lifecycle {
    # What takes a policy's place is there and attached before the old one goes.
    create_before_destroy = true
  }
}
