"""Database, tables, migrations, leader election, process lock."""
