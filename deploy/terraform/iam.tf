# The role has the permissions that the playbooks need (`smartcloudops iam-policy`), and those that
# the service itself needs. None of them lets it change its own permissions.
data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "service" {
  name               = var.name
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "playbooks" {
  name   = "playbooks"
  role   = aws_iam_role.service.id
  policy = file(var.policy_file)
}

data "aws_iam_policy_document" "own" {
  statement {
    sid       = "ListOwnBuckets"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.audit.arn, aws_s3_bucket.models.arn]
  }
  statement {
    sid       = "ReadModelsAndPackages"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.models.arn}/*"]
  }
  statement {
    sid       = "KeepAudit"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:PutObjectRetention"]
    resources = ["${aws_s3_bucket.audit.arn}/*"]
  }
  statement {
    sid       = "ReadOwnSecrets"
    actions   = ["ssm:GetParameter"]
    resources = ["arn:${local.partition}:ssm:${var.region}:${local.account}:parameter/${var.name}/*"]
  }
  statement {
    sid       = "Heartbeat"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = ["SmartCloudOps"]
    }
  }
}

resource "aws_iam_role_policy" "own" {
  name   = "own"
  role   = aws_iam_role.service.id
  policy = data.aws_iam_policy_document.own.json
}

resource "aws_iam_instance_profile" "service" {
  name = var.name
  role = aws_iam_role.service.name
}
