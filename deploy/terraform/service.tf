data "aws_ssm_parameter" "image" {
  name = var.ami_parameter
}

data "aws_subnet" "this" {
  id = var.subnet_id
}

# The records outlive the instance.
resource "aws_ebs_volume" "data" {
  availability_zone = data.aws_subnet.this.availability_zone
  size              = 20
  type              = "gp3"
  encrypted         = true
  tags              = { Name = "${var.name}-data" }
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_instance" "service" {
  ami                         = data.aws_ssm_parameter.image.value
  instance_type               = var.instance_type
  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = [aws_security_group.service.id]
  iam_instance_profile        = aws_iam_instance_profile.service.name
  associate_public_ip_address = false
  user_data_replace_on_change = true
  user_data = templatefile("${path.module}/user_data.sh.tftpl", {
    alertmanager_url = var.alertmanager_url
    audit_bucket     = aws_s3_bucket.audit.id
    lock_days        = var.audit_lock_days
    mode             = var.mode
    models_bucket    = aws_s3_bucket.models.id
    name             = var.name
    profile          = var.profile
    prometheus_url   = var.prometheus_url
    region           = var.region
    volume           = replace(aws_ebs_volume.data.id, "-", "")
    wheel            = aws_s3_object.wheel.key
    wheel_sha256     = filesha256(var.wheel)
  })
  # A container, or a URL that an attacker makes the service fetch, must not get the credentials.
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  root_block_device {
    encrypted = true
  }
  # The first boot reads the wheel and the secrets with this policy.
  depends_on = [aws_iam_role_policy.own]
  # A new image must not replace the instance; a person decides that.
  lifecycle {
    ignore_changes = [ami]
  }
  tags = { Name = var.name }
}

resource "aws_volume_attachment" "data" {
  device_name = "/dev/sdf"
  volume_id   = aws_ebs_volume.data.id
  instance_id = aws_instance.service.id
}
