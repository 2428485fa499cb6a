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

run "account_id_is_12_digits" {
  command = plan
  variables { account_id = "12345678901" }
  expect_failures = [var.account_id]
}

run "account_id_has_no_letters" {
  command = plan
  variables { account_id = "12345678901x" }
  expect_failures = [var.account_id]
}

run "partition_is_known" {
  command = plan
  variables { partition = "aws-iso" }
  # The region lies in no unknown partition either.
  expect_failures = [var.partition, var.region]
}

run "region_is_well_formed" {
  command = plan
  variables { region = "Ireland" }
  expect_failures = [var.region]
}

run "region_lies_in_the_partition" {
  command = plan
  variables { region = "cn-north-1" }
  expect_failures = [var.region]
}

run "prefix_has_no_template" {
  command = plan
  variables { prefix = "shop-$${aws:username}" }
  expect_failures = [var.prefix]
}

run "prefix_names_application_and_environment" {
  command = plan
  variables { prefix = "shop" }
  expect_failures = [var.prefix]
}

run "prefix_is_at_most_53_characters" {
  command = plan
  variables { prefix = "a12345678901234567890123456789012-b12345678901234567890" }
  expect_failures = [var.prefix]
}

run "there_is_a_policy" {
  command = plan
  variables { policies = {} }
  expect_failures = [var.policies]
}

run "there_are_at_most_ten_policies" {
  command = plan
  variables { policies = { for i in range(11) : "p${i}" => "{\"Version\":\"2012-10-17\",\"Statement\":[{}]}" } }
  expect_failures = [var.policies]
}

run "policy_names_are_plain" {
  command = plan
  variables { policies = { "a/b" = "{\"Version\":\"2012-10-17\",\"Statement\":[{}]}" } }
  expect_failures = [var.policies]
}

run "policies_are_json" {
  command = plan
  variables { policies = { deploy = "{\"Version\":\"2012-10-17\",\"Statement\":[" } }
  expect_failures = [var.policies]
}

run "policies_have_the_current_version" {
  command = plan
  variables { policies = { deploy = "{\"Version\":\"2008-10-17\",\"Statement\":[{}]}" } }
  expect_failures = [var.policies]
}

run "policies_have_statements" {
  command = plan
  variables { policies = { deploy = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" } }
  expect_failures = [var.policies]
}

run "policies_fit" {
  command = plan
  variables { policies = { deploy = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = join("", [for i in range(700) : "123456789"]) }] }) } }
  expect_failures = [var.policies]
}

run "white_space_does_not_count" {
  command = plan
  variables { policies = { deploy = "{\"Version\":\"2012-10-17\",${join("", [for i in range(7000) : " "])}\"Statement\":[{}]}" } }

  assert {
    condition     = length(var.policies["deploy"]) > 7000
    error_message = "The document is longer than 6,144 characters with its white space."
  }
}

run "boundary_is_a_policy" {
  command = plan
  variables { boundary = "" }
  expect_failures = [var.boundary]
}

run "boundary_fits" {
  command = plan
  variables { boundary = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = join("", [for i in range(700) : "123456789"]) }] }) }
  expect_failures = [var.boundary]
}

run "role_boundary_is_a_policy" {
  command = plan
  variables { role_boundary = "{}" }
  expect_failures = [var.role_boundary]
}

run "role_boundary_fits" {
  command = plan
  variables { role_boundary = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = join("", [for i in range(700) : "123456789"]) }] }) }
  expect_failures = [var.role_boundary]
}

run "there_are_at_most_40_tags" {
  command = plan
  variables { tags = { for i in range(41) : "tag${i}" => "x" } }
  expect_failures = [var.tags]
}

run "reserved_tags_are_refused" {
  command = plan
  variables { tags = { "CI-User:journal" = "x" } }
  expect_failures = [var.tags]
}

run "tags_of_aws_are_refused" {
  command = plan
  variables { tags = { "AWS:x" = "x" } }
  expect_failures = [var.tags]
}

run "tag_keys_have_iams_characters" {
  command = plan
  variables { tags = { "a{b}" = "x" } }
  expect_failures = [var.tags]
}

run "tag_keys_are_at_most_128_characters" {
  command = plan
  variables { tags = { (join("", [for i in range(129) : "k"])) = "x" } }
  expect_failures = [var.tags]
}

run "tag_values_have_iams_characters" {
  command = plan
  variables { tags = { Team = "{\"json\":1}" } }
  expect_failures = [var.tags]
}

run "tag_values_are_at_most_256_characters" {
  command = plan
  variables { tags = { Team = join("", [for i in range(257) : "v"]) } }
  expect_failures = [var.tags]
}
