locals {
  name               = "${var.prefix}.ci"
  boundary_name      = "${var.prefix}.boundary"
  role_boundary_name = "${var.prefix}.role-boundary"

  # Known when planning, so that the plan shows which boundary and which policies the user gets.
  arn_start         = "arn:${var.partition}:iam::${var.account_id}"
  boundary_arn      = "${local.arn_start}:policy/${local.boundary_name}"
  role_boundary_arn = "${local.arn_start}:policy/${local.role_boundary_name}"
}

resource "aws_iam_policy" "boundary" {
  name        = local.boundary_name
  description = "Managed by ci-user: the most that the CI user can ever do."
  policy      = var.boundary
  tags        = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_iam_policy" "role_boundary" {
  name        = local.role_boundary_name
  description = "Managed by ci-user: the most that a role made by the pipeline can ever do."
  policy      = var.role_boundary
  tags        = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_iam_user" "this" {
  name                 = local.name
  permissions_boundary = local.boundary_arn
  force_destroy        = false
  tags                 = var.tags

  depends_on = [aws_iam_policy.boundary]
}

resource "aws_iam_group" "this" {
  name = local.name
}

# The exclusive resources below only correct: they leave everything in place when they are destroyed. These take the
# policies off the group, so that policies and group can go.
resource "aws_iam_group_policy_attachment" "this" {
  for_each = var.policy_arns

  group      = aws_iam_group.this.name
  policy_arn = each.value

  lifecycle {
    # With a plain order the old policy would be detached before the new one is attached.
    create_before_destroy = true
  }
}

resource "aws_iam_user_group_membership" "this" {
  user   = aws_iam_user.this.name
  groups = [aws_iam_group.this.name]
}

resource "aws_iam_group_policy_attachments_exclusive" "this" {
  group_name  = aws_iam_group.this.name
  policy_arns = values(var.policy_arns)

  depends_on = [aws_iam_group_policy_attachment.this]
}

resource "aws_iam_group_policies_exclusive" "this" {
  group_name   = aws_iam_group.this.name
  policy_names = []
}

# What is not named here is removed; the deny of a revocation must outlive an apply.
resource "aws_iam_user_policies_exclusive" "this" {
  user_name    = aws_iam_user.this.name
  policy_names = var.inline_policy_names
}

# AWS attaches AWSCompromisedKeyQuarantine* here when a key leaks. ci_user refuses a plan that would detach it.
resource "aws_iam_user_policy_attachments_exclusive" "this" {
  user_name   = aws_iam_user.this.name
  policy_arns = []
}
