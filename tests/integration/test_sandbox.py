def test_fixture(aws, access):
    assert ":assumed-role/ci-user-sandbox-deployer/" in aws.client("sts").get_caller_identity()["Arn"]
    assert access.verify().account_id == aws.account_id
