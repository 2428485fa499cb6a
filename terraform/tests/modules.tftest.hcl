mock_provider "aws" {}

variables {
  account_id    = "123456789012"
  partition     = "aws"
  prefix        = "shop-prod"
  policy_arns   = { deploy = "arn:aws:iam::123456789012:policy/shop-prod.policy-deploy" }
  boundary      = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Deny\",\"Action\":\"iam:*\",\"Resource\":\"*\"}]}"
  role_boundary = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Deny\",\"Action\":\"iam:*\",\"Resource\":\"*\"}]}"
  tags          = { Team = "shop" }
  name          = "shop-prod.policy-deploy"
  document      = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"s3:GetObject\",\"Resource\":\"*\"}]}"
}

run "the_user_is_bounded_tagged_and_in_its_group_only" {
  module {
    source = "./modules/ci_user"
  }

  assert {
    condition     = aws_iam_user.this.permissions_boundary == "arn:aws:iam::123456789012:policy/shop-prod.boundary"
    error_message = "The user carries the boundary."
  }

  assert {
    condition     = aws_iam_user.this.force_destroy == false
    error_message = "A user with keys cannot be destroyed in passing."
  }

  assert {
    condition     = aws_iam_user.this.tags == tomap({ Team = "shop" }) && aws_iam_policy.boundary.tags == tomap({ Team = "shop" }) && aws_iam_policy.role_boundary.tags == tomap({ Team = "shop" })
    error_message = "User and boundaries carry the tags."
  }

  assert {
    condition     = aws_iam_user.this.name == "shop-prod.ci" && aws_iam_group.this.name == "shop-prod.ci"
    error_message = "User and group are called PREFIX.ci."
  }

  assert {
    condition     = aws_iam_user_group_membership.this.groups == toset(["shop-prod.ci"])
    error_message = "The user is in its group of one."
  }

  assert {
    condition     = aws_iam_group_policy_attachments_exclusive.this.policy_arns == toset(["arn:aws:iam::123456789012:policy/shop-prod.policy-deploy"])
    error_message = "The group carries the given policies and no other."
  }

  assert {
    condition     = length(aws_iam_user_policy_attachments_exclusive.this.policy_arns) == 0 && length(aws_iam_user_policies_exclusive.this.policy_names) == 0 && length(aws_iam_group_policies_exclusive.this.policy_names) == 0
    error_message = "Nothing is attached to the user, and nothing is inline."
  }
}

run "the_policy_is_named_and_tagged" {
  module {
    source = "./modules/ci_policy"
  }

  assert {
    condition     = aws_iam_policy.this.name == "shop-prod.policy-deploy" && aws_iam_policy.this.tags == tomap({ Team = "shop" })
    error_message = "The policy carries its name and the tags."
  }

  assert {
    condition     = output.arn == "arn:aws:iam::123456789012:policy/shop-prod.policy-deploy"
    error_message = "The ARN is built from partition, account and name."
  }
}

# One run tries several variables: each of them must fail, and breaks exactly one rule. A run takes about a second.
run "user_refused_when_short_or_empty" {
  command = plan

  module {
    source = "./modules/ci_user"
  }

  variables {
    account_id    = "1234"
    partition     = "aws-iso"
    prefix        = "Shop-Prod"
    policy_arns   = {}
    boundary      = "{}"
    role_boundary = "[]"
    tags          = { for i in range(41) : "tag${i}" => "x" }
  }

  expect_failures = [
    var.account_id,
    var.partition,
    var.prefix,
    var.policy_arns,
    var.boundary,
    var.role_boundary,
    var.tags,
  ]
}

run "user_refused_when_long" {
  command = plan

  module {
    source = "./modules/ci_user"
  }

  variables {
    prefix        = "a12345678901234567890123456789012-b12345678901234567890"
    policy_arns   = { deploy = "deploy" }
    boundary      = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = join("", [for i in range(700) : "123456789"]) }] })
    role_boundary = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = join("", [for i in range(700) : "123456789"]) }] })
    tags          = { "ci-user:x" = "x" }
  }

  expect_failures = [
    var.prefix,
    var.policy_arns,
    var.boundary,
    var.role_boundary,
    var.tags,
  ]
}

run "user_refused_as_administrator" {
  command = plan

  module {
    source = "./modules/ci_user"
  }

  variables {
    policy_arns         = { deploy = "arn:aws:iam::aws:policy/job-function/AdministratorAccess-Amplify" }
    tags                = { "a;b" = "x" }
    inline_policy_names = ["anything-else"]
  }

  expect_failures = [var.policy_arns, var.tags, var.inline_policy_names]
}

run "user_refused_with_strange_tags" {
  command = plan

  module {
    source = "./modules/ci_user"
  }

  variables {
    policy_arns = { for i in range(11) : "p${i}" => "arn:aws:iam::123456789012:policy/p${i}" }
    tags        = { Team = "a;b" }
  }

  expect_failures = [var.policy_arns, var.tags]
}

run "user_refused_with_a_boundary_as_a_policy" {
  command = plan

  module {
    source = "./modules/ci_user"
  }

  variables {
    policy_arns = { deploy = "arn:aws:iam::123456789012:policy/shop-prod.boundary" }
  }

  expect_failures = [var.policy_arns]
}

run "user_refused_with_a_policy_twice" {
  command = plan

  module {
    source = "./modules/ci_user"
  }

  variables {
    policy_arns = { a = "arn:aws:iam::aws:policy/ReadOnlyAccess", b = "arn:aws:iam::aws:policy/ReadOnlyAccess" }
  }

  expect_failures = [var.policy_arns]
}

run "policy_refused_with_another_name" {
  command = plan

  module {
    source = "./modules/ci_policy"
  }

  variables {
    name       = "shop-prod.boundary"
    document   = "{"
    account_id = "1234"
    partition  = "aws-iso"
    tags       = { for i in range(41) : "tag${i}" => "x" }
  }

  expect_failures = [
    var.name,
    var.document,
    var.account_id,
    var.partition,
    var.tags,
  ]
}

run "policy_refused_when_long" {
  command = plan

  module {
    source = "./modules/ci_policy"
  }

  variables {
    name     = "shop-prod.policy-${join("", [for i in range(120) : "x"])}"
    document = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = join("", [for i in range(700) : "123456789"]) }] })
    tags     = { "aws:x" = "x" }
  }

  expect_failures = [var.name, var.document, var.tags]
}

run "policy_refused_with_strange_tag_keys" {
  command = plan

  module {
    source = "./modules/ci_policy"
  }

  variables {
    tags = { "a;b" = "x" }
  }

  expect_failures = [var.tags]
}

run "policy_refused_with_strange_tag_values" {
  command = plan

  module {
    source = "./modules/ci_policy"
  }

  variables {
    tags = { Team = "a;b" }
  }

  expect_failures = [var.tags]
}
