// Questions that are asked again and again are parsed and planned once for each connection, as PostgreSQL's prepared statements: planning most of Berth's takes
// longer than answering them. https://www.postgresql.org/docs/current/sql-prepare.html
import pg from "pg";

/** Texts that get a name, and texts that are remembered as asked once; each connection keeps the plans of those it has met. */
const limits = { named: 500, once: 2_000 } as const;

/** Which texts are prepared, for all connections of this process. A text is from the second time on; those that differ each time never are. */
export class Statements {
  readonly #names = new Map<string, string>();
  #once = new Set<string>();
  #made = 0;

  nameOf(text: string): string | undefined {
    const known = this.#names.get(text);
    if (known !== undefined) return known;
    if (!this.#once.has(text)) {
      if (this.#once.size >= limits.once) this.#once = new Set();
      this.#once.add(text);
      return undefined;
    }
    if (this.#names.size >= limits.named) return undefined;
    this.#made += 1;
    const name = `berth_${String(this.#made)}`;
    this.#names.set(text, name);
    this.#once.delete(text);
    return name;
  }

  /** A migration changed what some questions answer: all are prepared anew, by other names. */
  forget(): void {
    this.#names.clear();
  }
}

/** "cached plan must not change result type", after a migration beside this program: PostgreSQL refuses before anything is done. Told by the function, for the message depends on its language. */
export function isStalePlan(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === "0A000" && error.routine === "RevalidateCachedQuery";
}

type Ask = (text: string | pg.QueryConfig, values?: unknown[]) => Promise<pg.QueryResult>;

/** A connection's class for a pool; questions that stand alone are asked again when their plan is stale, those of a transaction fail with it (`transaction` runs again). */
export function preparingClient(statements: Statements): typeof pg.Client {
  return class extends pg.Client {
    // The driver's own signature has nine forms; Kysely and this program use the one with text and values.
    override query(...args: unknown[]): never {
      const ask = super.query.bind(this) as Ask;
      const [text, values] = args;
      if (args.length !== 2 || typeof text !== "string" || !Array.isArray(values)) return (ask as (...same: unknown[]) => never)(...args);
      const name = statements.nameOf(text);
      if (name === undefined) return ask(text, values) as never;
      return ask({ name, text, values }).catch((error: unknown) => {
        if (!isStalePlan(error)) throw error;
        statements.forget();
        if (this.getTransactionStatus() !== "I") throw error;
        return ask(text, values);
      }) as never;
    }
  };
}
