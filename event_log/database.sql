-- name: setting
SELECT current_setting(%(name)s)

-- name: rights_on_the_log
SELECT has_table_privilege(log, 'SELECT') AND has_table_privilege(log, 'INSERT'),
       has_any_column_privilege(log, 'UPDATE') OR has_table_privilege(log, 'DELETE')
           OR has_table_privilege(log, 'TRUNCATE')
  FROM (SELECT to_regclass('events') AS log) AS the
