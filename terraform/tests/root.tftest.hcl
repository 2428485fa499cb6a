mock_provider "aws" {}

variables {
  account_id    = "123456789012"
  partition     = "aws"
  region        = "eu-west-1"
  prefix        = "shop-prod"
  policies      = { deploy = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"s3:GetObject\",\"Resource\":\"*\"}]}" }
  boundary      = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Deny\",\"Action\":\"iam:*\",\"Resource\":\"*\"}]}"
  role_boundary = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Deny\",\"Action\":\"iam:*\",\"Resource\":\"*\"}]}"
}

run "everything_is_known_when_planning" {
  command = plan

  assert {
    condition     = output.user_arn == "arn:aws:iam::123456789012:user/shop-prod.ci"
    error_message = "The user's ARN is built from partition, account and prefix."
  }

  assert {
    condition     = output.policy_arns == { deploy = "arn:aws:iam::123456789012:policy/shop-prod.policy-deploy" }
    error_message = "The policies' ARNs are built from partition, account, prefix and name."
  }

  assert {
    condition     = output.boundary_arn == "arn:aws:iam::123456789012:policy/shop-prod.boundary"
    error_message = "The boundary's ARN is built from partition, account and prefix."
  }

  assert {
    condition     = output.role_boundary_arn == "arn:aws:iam::123456789012:policy/shop-prod.role-boundary"
    error_message = "The role boundary's ARN is built from partition, account and prefix."
  }
}

run "arns_follow_the_partition" {
  command = plan

  variables {
    partition = "aws-us-gov"
    region    = "us-gov-west-1"
  }

  assert {
    condition     = alltrue([for arn in concat(values(output.policy_arns), [output.user_arn, output.boundary_arn, output.role_boundary_arn]) : startswith(arn, "arn:aws-us-gov:iam::123456789012:")])
    error_message = "No ARN is built without the partition."
  }
}

run "white_space_does_not_count" {
  command = plan
  variables {
    policies = { deploy = "{\"Version\":\"2012-10-17\",${join("", [for i in range(700) : "          "])}\"Statement\":[{}]}" }
  }

  assert {
    condition     = length(var.policies["deploy"]) > 7000
    error_message = "The document is longer than 6,144 characters with its white space."
  }
}

run "as_many_policies_as_a_group_takes_are_all_attached" {
  command = plan

  variables {
    policies      = { for i in range(8) : (i == 0 ? "combined" : "combined-${i + 1}") => var.policies["deploy"] }
    attached_arns = ["arn:aws:iam::123456789012:policy/team/extra", "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess"]
  }

  assert {
    condition     = length(output.policy_arns) == 8 && output.policy_arns["combined-8"] == "arn:aws:iam::123456789012:policy/shop-prod.policy-combined-8"
    error_message = "Each policy is made under its own name."
  }

  assert {
    condition     = module.ci_user.policy_arns == setunion(values(output.policy_arns), ["arn:aws:iam::123456789012:policy/team/extra", "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess"])
    error_message = "The group carries what is made and what exists, and nothing else."
  }
}

run "existing_policies_are_enough" {
  command = plan

  variables {
    policies      = {}
    attached_arns = ["arn:aws:iam::aws:policy/ReadOnlyAccess"]
  }

  assert {
    condition     = length(output.policy_arns) == 0 && module.ci_user.policy_arns == toset(["arn:aws:iam::aws:policy/ReadOnlyAccess"])
    error_message = "The group carries the existing policy alone."
  }
}

# What the directory tests/own-policy renders to; a test of the Python package keeps the file so.
run "the_content_of_a_directory_arrives_unchanged" {
  command = plan

  variables {
    policies = jsondecode(file("./tests/own-policy.rendered.json"))
  }

  assert {
    condition     = keys(output.policy_arns) == ["own-policy"]
    error_message = "A directory becomes one policy that is called like it."
  }

  assert {
    condition     = toset([for one in jsondecode(module.ci_policy["own-policy"].document).Statement : one.Effect]) == toset(["Allow", "Deny"])
    error_message = "The statements of all files are in the policy."
  }

  assert {
    condition     = strcontains(module.ci_policy["own-policy"].document, "arn:aws:s3:::shop-prod-*/*") && strcontains(module.ci_policy["own-policy"].document, "/shop/prod/$${aws:username}*")
    error_message = "Parameters are filled in, and IAM's own variables stay."
  }
}

# One run tries several variables: each of them must fail, and breaks exactly one rule. A run takes about a second.
run "refused_when_short_or_empty" {
  command = plan

  variables {
    account_id    = "12345678901"
    partition     = "aws-iso"
    prefix        = "shop"
    boundary      = ""
    role_boundary = "{}"
    tags          = { for i in range(41) : "tag${i}" => "x" }
  }

  expect_failures = [
    var.account_id,
    var.partition,
    var.prefix,
    var.boundary,
    var.role_boundary,
    var.tags,
  ]
}

# Terraform judges attached_arns only when account and partition are right, and policies only when attached_arns are.
run "refused_without_any_policy" {
  command = plan

  variables {
    policies = {}
  }

  expect_failures = [var.policies]
}

run "refused_when_long" {
  command = plan

  variables {
    account_id    = "12345678901x"
    region        = "Ireland"
    prefix        = "a12345678901234567890123456789012-b12345678901234567890"
    boundary      = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = join("", [for i in range(700) : "123456789"]) }] })
    role_boundary = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = join("", [for i in range(700) : "123456789"]) }] })
    tags          = { "CI-User:journal" = "x" }
  }

  expect_failures = [
    var.account_id,
    var.region,
    var.prefix,
    var.boundary,
    var.role_boundary,
    var.tags,
  ]
}

run "refused_with_templates" {
  command = plan

  variables {
    prefix   = "shop-$${aws:username}"
    policies = { "a/b" = "{\"Version\":\"2012-10-17\",\"Statement\":[{}]}" }
    tags     = { "AWS:x" = "x" }
  }

  expect_failures = [var.prefix, var.policies, var.tags]
}

run "refused_in_another_partition" {
  command = plan

  variables {
    region = "cn-north-1"
  }

  expect_failures = [var.region]
}

run "refused_without_json_and_with_keys_in_braces" {
  command = plan

  variables {
    policies = { deploy = "{\"Version\":\"2012-10-17\",\"Statement\":[" }
    tags     = { "a{b}" = "x" }
  }

  expect_failures = [var.policies, var.tags]
}

run "refused_in_an_old_version_and_with_long_keys" {
  command = plan

  variables {
    policies = { deploy = "{\"Version\":\"2008-10-17\",\"Statement\":[{}]}" }
    tags     = { (join("", [for i in range(129) : "k"])) = "x" }
  }

  expect_failures = [var.policies, var.tags]
}

run "refused_without_statements_and_with_values_in_json" {
  command = plan

  variables {
    policies = { deploy = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
    tags     = { Team = "{\"json\":1}" }
  }

  expect_failures = [var.policies, var.tags]
}

run "refused_when_too_large_and_with_long_values" {
  command = plan

  variables {
    policies = { deploy = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = join("", [for i in range(700) : "123456789"]) }] }) }
    tags     = { Team = join("", [for i in range(257) : "v"]) }
  }

  expect_failures = [var.policies, var.tags]
}

run "refused_when_what_is_made_and_what_exists_are_more_than_ten" {
  command = plan

  variables {
    policies      = { for i in range(5) : "p${i}" => "{\"Version\":\"2012-10-17\",\"Statement\":[{}]}" }
    attached_arns = [for i in range(6) : "arn:aws:iam::123456789012:policy/extra${i}"]
  }

  expect_failures = [var.policies]
}

run "refused_with_what_is_no_arn" {
  command = plan

  variables {
    attached_arns = ["extra"]
  }

  expect_failures = [var.attached_arns]
}

run "refused_with_a_wildcard" {
  command = plan

  variables {
    attached_arns = ["arn:aws:iam::123456789012:policy/a*"]
  }

  expect_failures = [var.attached_arns]
}

run "refused_as_administrator" {
  command = plan

  variables {
    attached_arns = ["arn:aws:iam::aws:policy/job-function/poweruseraccess"]
  }

  expect_failures = [var.attached_arns]
}

run "refused_with_a_policy_of_another_account" {
  command = plan

  variables {
    attached_arns = ["arn:aws:iam::210987654321:policy/extra"]
  }

  expect_failures = [var.attached_arns]
}

run "refused_with_a_policy_of_another_partition" {
  command = plan

  variables {
    attached_arns = ["arn:aws-cn:iam::aws:policy/ReadOnlyAccess"]
  }

  expect_failures = [var.attached_arns]
}

run "refused_with_an_existing_policy_twice" {
  command = plan

  variables {
    attached_arns = ["arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::aws:policy/ReadOnlyAccess"]
  }

  expect_failures = [var.attached_arns]
}

run "refused_with_a_boundary_of_this_project" {
  command = plan

  variables {
    attached_arns = ["arn:aws:iam::123456789012:policy/shop-prod.role-boundary"]
  }

  expect_failures = [var.attached_arns]
}

run "refused_with_a_policy_of_another_environment" {
  command = plan

  variables {
    attached_arns = ["arn:aws:iam::123456789012:policy/shop-testing.policy-deploy"]
  }

  expect_failures = [var.attached_arns]
}
