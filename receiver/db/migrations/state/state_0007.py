"""The audit takes records and gives none away: no change, and no removal but of pruned ones."""

import sqlalchemy as sa
from alembic import op

revision = "state_0007"
down_revision = "state_0006"


def upgrade() -> None:
    op.add_column(
        "audit_head", sa.Column("pruned", sa.BigInteger(), server_default="0", nullable=False)
    )
    statements = _POSTGRESQL if op.get_bind().dialect.name == "postgresql" else _SQLITE
    for statement in statements:
        op.execute(statement)


_SQLITE = (
    """
    CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'an audit record cannot be changed'); END
    """,
    """
    CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
    WHEN OLD.seq > COALESCE((SELECT pruned FROM audit_head), 0)
    BEGIN SELECT RAISE(ABORT, 'an audit record cannot be removed'); END
    """,
    """
    CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit
    WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'an audit record cannot be changed'); END
    """,
)
_POSTGRESQL = (
    """
    CREATE FUNCTION audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'DELETE' THEN
        IF OLD.seq <= COALESCE((SELECT pruned FROM audit_head), 0) THEN RETURN OLD; END IF;
        RAISE EXCEPTION 'an audit record cannot be removed';
      END IF;
      IF TG_OP = 'TRUNCATE' THEN RAISE EXCEPTION 'an audit record cannot be removed'; END IF;
      RAISE EXCEPTION 'an audit record cannot be changed';
    END $$
    """,
    """
    CREATE TRIGGER audit_keep_rows BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_keep()
    """,
    """
    CREATE TRIGGER audit_keep_table BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_keep()
    """,
)
