"""Alembic's entry: the connection and the history come from `Database.migrate`."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=f"schema_{context.config.attributes['history']}",
    transactional_ddl=False,
)
context.run_migrations()
