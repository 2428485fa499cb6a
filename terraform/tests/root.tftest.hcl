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

# One run tries several variables: each of them must fail, and breaks exactly one rule. A run takes about a second.
run "refused_when_short_or_empty" {
  command = plan

  variables {
    account_id    = "12345678901"
    partition     = "aws-iso"
    prefix        = "shop"
    policies      = {}
    boundary      = ""
    role_boundary = "{}"
    tags          = { for i in range(41) : "tag${i}" => "x" }
  }

  expect_failures = [
    var.account_id,
    var.partition,
    var.prefix,
    var.policies,
    var.boundary,
    var.role_boundary,
    var.tags,
  ]
}

run "refused_when_long" {
  command = plan

  variables {
    account_id    = "12345678901x"
    region        = "Ireland"
    prefix        = "a12345678901234567890123456789012-b12345678901234567890"
    policies      = { for i in range(11) : "p${i}" => "{\"Version\":\"2012-10-17\",\"Statement\":[{}]}" }
    boundary      = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = join("", [for i in range(700) : "123456789"]) }] })
    role_boundary = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = join("", [for i in range(700) : "123456789"]) }] })
    tags          = { "CI-User:journal" = "x" }
  }

  expect_failures = [
    var.account_id,
    var.region,
    var.prefix,
    var.policies,
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
