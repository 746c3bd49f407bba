BEGIN TRANSACTION;
CREATE TABLE callbacks (
	awaited TEXT NOT NULL,
	awaiter TEXT NOT NULL,
	PRIMARY KEY (awaited, awaiter)
);
INSERT INTO "callbacks" VALUES('order-1:2','order-1');
CREATE TABLE ledger_queues (
	queue SMALLINT NOT NULL,
	generation BIGINT NOT NULL,
	now BIGINT NOT NULL,
	PRIMARY KEY (queue)
);
INSERT INTO "ledger_queues" VALUES(0,2,1700000104385);
CREATE TABLE listeners (
	awaited TEXT NOT NULL,
	address TEXT NOT NULL,
	PRIMARY KEY (awaited, address)
);
INSERT INTO "listeners" VALUES('order-1','resonate.reply.shop.417bb54c1d181ae61.cd55bdd178dca8281');
INSERT INTO "listeners" VALUES('order-1:2','resonate.reply.shop.417bb54c1d181ae61.cd55bdd178dca8281');
CREATE TABLE outbox (
	serial BIGINT NOT NULL,
	shard SMALLINT NOT NULL,
	task_id TEXT NOT NULL,
	version BIGINT NOT NULL,
	target TEXT NOT NULL,
	PRIMARY KEY (serial)
);
CREATE TABLE promises (
	id TEXT NOT NULL,
	shard SMALLINT NOT NULL,
	state TEXT NOT NULL,
	origin TEXT NOT NULL,
	parent TEXT NOT NULL,
	branch TEXT NOT NULL,
	func TEXT NOT NULL,
	version TEXT NOT NULL,
	"group" TEXT NOT NULL,
	external BOOLEAN NOT NULL,
	param_headers TEXT NOT NULL,
	param_data TEXT NOT NULL,
	value_headers TEXT NOT NULL,
	value_data TEXT NOT NULL,
	error_type TEXT NOT NULL,
	tags TEXT NOT NULL,
	timeout_at BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	settled_at BIGINT,
	settled_by TEXT NOT NULL,
	PRIMARY KEY (id)
);
INSERT INTO "promises" VALUES('order-0',57,'resolved','order-0','order-0','order-0','order','1','shop',1,'{"func":"order","version":"1"}','eyJmdW5jIjoib3JkZXIiLCJhcmdzIjpbImEgcGVuIl0sImt3YXJncyI6e30sInZlcnNpb24iOjF9','{}','ImEgcGVuIHBhaWQsIHNlbnQi','','{"resonate:origin":"order-0","resonate:parent":"order-0","resonate:scope":"global","resonate:target":"poll://any@shop"}',4102444800000,1700000103318,1700000103846,'cd55bdd178dca8288');
INSERT INTO "promises" VALUES('order-0:1',57,'resolved','order-0','order-0','order-0','charge','1','',0,'{"func":"charge","version":"1"}','eyJmdW5jIjoiY2hhcmdlIiwiYXJncyI6WyJhIHBlbiJdLCJrd2FyZ3MiOnt9LCJ2ZXJzaW9uIjoxfQ==','{}','ImEgcGVuIHBhaWQi','','{"resonate:origin":"order-0","resonate:parent":"order-0","resonate:branch":"order-0","resonate:scope":"local"}',4102444800000,1700000103361,1700000103361,'cd55bdd178dca8285');
INSERT INTO "promises" VALUES('order-0:2',57,'resolved','order-0','order-0','order-0','','','',1,'{}','','{}','InNlbnQi','','{"resonate:origin":"order-0","resonate:parent":"order-0","resonate:branch":"order-0","resonate:scope":"global","resonate:external":"true"}',4102444800000,1700000103373,1700000103832,'cd55bdd178dca8287');
INSERT INTO "promises" VALUES('order-1',47,'pending','order-1','order-1','order-1','order','1','shop',1,'{"func":"order","version":"1"}','eyJmdW5jIjoib3JkZXIiLCJhcmdzIjpbImEgYm9vayJdLCJrd2FyZ3MiOnt9LCJ2ZXJzaW9uIjoxfQ==','{}','','','{"resonate:origin":"order-1","resonate:parent":"order-1","resonate:scope":"global","resonate:target":"poll://any@shop"}',4102444800000,1700000103874,NULL,'');
INSERT INTO "promises" VALUES('order-1:1',47,'resolved','order-1','order-1','order-1','charge','1','',0,'{"func":"charge","version":"1"}','eyJmdW5jIjoiY2hhcmdlIiwiYXJncyI6WyJhIGJvb2siXSwia3dhcmdzIjp7fSwidmVyc2lvbiI6MX0=','{}','ImEgYm9vayBwYWlkIg==','','{"resonate:origin":"order-1","resonate:parent":"order-1","resonate:branch":"order-1","resonate:scope":"local"}',4102444800000,1700000103899,1700000103899,'cd55bdd178dca828d');
INSERT INTO "promises" VALUES('order-1:2',47,'pending','order-1','order-1','order-1','','','',1,'{}','','{}','','','{"resonate:origin":"order-1","resonate:parent":"order-1","resonate:branch":"order-1","resonate:scope":"global","resonate:external":"true"}',4102444800000,1700000103905,NULL,'');
CREATE TABLE resonate_alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT resonate_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "resonate_alembic_version" VALUES('r0001');
CREATE TABLE shards (
	shard SMALLINT NOT NULL,
	queue SMALLINT NOT NULL,
	PRIMARY KEY (shard)
);
INSERT INTO "shards" VALUES (0,0),(1,0),(2,0),(3,0),(4,0),(5,0),(6,0),(7,0),(8,0),(9,0),(10,0),(11,0),(12,0),(13,0),(14,0),(15,0),(16,0),(17,0),(18,0),(19,0),(20,0),(21,0),(22,0),(23,0),(24,0),(25,0),(26,0),(27,0),(28,0),(29,0),(30,0),(31,0),(32,0),(33,0),(34,0),(35,0),(36,0),(37,0),(38,0),(39,0),(40,0),(41,0),(42,0),(43,0),(44,0),(45,0),(46,0),(47,0),(48,0),(49,0),(50,0),(51,0),(52,0),(53,0),(54,0),(55,0),(56,0),(57,0),(58,0),(59,0),(60,0),(61,0),(62,0),(63,0);
CREATE TABLE tags (
	promise_id TEXT NOT NULL,
	name TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (promise_id, name)
);
CREATE TABLE tasks (
	id TEXT NOT NULL,
	shard SMALLINT NOT NULL,
	state TEXT NOT NULL,
	version BIGINT NOT NULL,
	resumes TEXT NOT NULL,
	pid TEXT,
	ttl BIGINT,
	expires_at BIGINT,
	retry_at BIGINT,
	offered BOOLEAN NOT NULL,
	holder TEXT NOT NULL,
	ticket TEXT NOT NULL,
	redeliveries BIGINT NOT NULL,
	last_holder TEXT NOT NULL,
	last_version BIGINT NOT NULL,
	deliveries BIGINT NOT NULL,
	acquired_at BIGINT,
	reason TEXT NOT NULL,
	PRIMARY KEY (id)
);
INSERT INTO "tasks" VALUES('order-0',57,'fulfilled',1,'[]',NULL,NULL,NULL,NULL,0,'','',0,'cd55bdd178dca8283',1,0,1700000103330,'');
INSERT INTO "tasks" VALUES('order-1',47,'suspended',1,'[]',NULL,NULL,NULL,NULL,0,'','',0,'cd55bdd178dca828b',1,0,1700000103881,'');
CREATE INDEX ix_promises_origin ON promises (origin, created_at);
CREATE INDEX ix_promises_branch ON promises (branch, created_at);
CREATE INDEX ix_promises_state ON promises (state, created_at);
CREATE INDEX ix_promises_func ON promises (func, created_at);
CREATE INDEX ix_promises_settled_at ON promises (settled_at);
CREATE INDEX ix_promises_due ON promises (timeout_at) WHERE state = 'pending';
CREATE INDEX ix_tags_name ON tags (name, value);
CREATE INDEX ix_tasks_state ON tasks (state, acquired_at);
CREATE INDEX ix_tasks_retry ON tasks (retry_at) WHERE state = 'pending' AND NOT offered;
CREATE INDEX ix_tasks_lease ON tasks (expires_at) WHERE state = 'acquired';
CREATE INDEX ix_outbox_task ON outbox (task_id);
COMMIT;
