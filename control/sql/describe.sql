-- tables: List our tables with their storage settings.
SELECT 'table ' || relname || coalesce(' ' || reloptions::text, '')
FROM pg_class
WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
  AND relname NOT LIKE '%yoyo%'

-- columns: List their columns.
SELECT 'table ' || relname || ' column ' || attname || ' ' || format_type(atttypid, atttypmod)
       || CASE WHEN attnotnull THEN ' not null' ELSE '' END
       || coalesce(' default ' || pg_get_expr(adbin, adrelid), '')
FROM pg_attribute
JOIN pg_class ON pg_class.oid = attrelid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
  AND relname NOT LIKE '%yoyo%' AND attnum > 0 AND NOT attisdropped

-- constraints: List their constraints; NOT NULL is one from PostgreSQL 18 on, and shown by column.
SELECT 'table ' || relname || ' constraint ' || conname || ' ' || pg_get_constraintdef(pg_constraint.oid)
FROM pg_constraint
JOIN pg_class ON pg_class.oid = conrelid
WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE '%yoyo%' AND contype <> 'n'

-- indexes: List their indexes.
SELECT 'table ' || tablename || ' index ' || indexdef
FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE '%yoyo%'

-- triggers: List their triggers, and whether they are enabled.
SELECT 'table ' || relname || ' trigger ' || pg_get_triggerdef(pg_trigger.oid)
       || CASE tgenabled WHEN 'D' THEN ' disabled' ELSE '' END
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace
