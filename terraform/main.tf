provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account_id]

  # The key's journal is mirrored in tags of the user, behind Terraform's back.
  ignore_tags {
    key_prefixes = ["ci-user:"]
  }
}

module "ci_policy" {
  source   = "./modules/ci_policy"
  for_each = var.policies

  name       = "${var.prefix}.policy-${each.key}"
  document   = each.value
  partition  = var.partition
  account_id = var.account_id
  tags       = var.tags
}

module "ci_user" {
  source = "./modules/ci_user"

  prefix     = var.prefix
  partition  = var.partition
  account_id = var.account_id
  policy_arns = merge(
    { for name, policy in module.ci_policy : name => policy.arn },
    { for arn in var.attached_arns : arn => arn },
  )
  boundary      = var.boundary
  role_boundary = var.role_boundary
  tags          = var.tags

  inline_policy_names = var.inline_policy_names
}
