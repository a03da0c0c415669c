# Only the named security groups have access. No port is open for a shell: use Session Manager, with a
# separate role.
resource "aws_security_group" "service" {
  name        = var.name
  description = "The API and the webhook of SmartCloudOps"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "api" {
  for_each                     = var.client_security_group_ids
  security_group_id            = aws_security_group.service.id
  description                  = "API and webhook from ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
}

# AWS's APIs, Prometheus, Alertmanager, and the recipients of notifications.
resource "aws_vpc_security_group_egress_rule" "out" {
  security_group_id = aws_security_group.service.id
  description       = "Out"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}
