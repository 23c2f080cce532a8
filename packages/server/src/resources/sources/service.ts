// Sources: uploads and fetches from git, each recorded with revision, author and message; git credentials and known hosts.
import type { Readable } from "node:stream";
import type { Credential, KnownHost, Source } from "@berth/contract/resources/sources.ts";
import type { GitCredentials, GitFetch } from "../../builders/source/git.ts";
import type { StoredArchive } from "../../builders/source/upload.ts";
import { credentialVerbs, sourceVerbs } from "../../core/allowed.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import { transaction } from "../../db/transaction.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, keepAnswer, stackEvent } from "../intent.ts";
import { slice, toPage, type ListRequest } from "../page.ts";
import type { MayHere, StackHandle, StackService } from "../stacks/service.ts";
import * as credentials from "./credentials.ts";
import * as store from "./store.ts";

export interface SourceDeps extends ResourceDeps {
  readonly receiveUpload: (stream: Readable, signal: AbortSignal) => Promise<StoredArchive>;
  readonly fetchGit: (
    fetch: GitFetch,
    signal: AbortSignal,
  ) => Promise<StoredArchive & { readonly revision: string; readonly author: string; readonly message: string }>;
}
export interface UploadFacts {
  readonly revision?: string;
  readonly author?: string;
  readonly message?: string;
  readonly dirty?: boolean;
  readonly ref?: string;
}
export type SourceService = ReturnType<typeof createSourceService>;

export function createSourceService(deps: SourceDeps, stacks: StackService) {
  return {
    /** For a stack that exists, or for one that the caller may create: then it waits for the plan that uses it. */
    async upload(call: Call, stackName: string, body: Readable, facts: UploadFacts): Promise<Source> {
      const stack = (await stacks.exists(stackName)) ? await stacks.find(call, stackName, "releases.deploy") : undefined;
      // In which team it will be made, the plan says.
      if (stack === undefined && (await deps.access.teamsWith(call.principal, "stacks.create")).length === 0)
        await stacks.find(call, stackName);
      const stored = await deps.receiveUpload(body, call.signal);
      return transaction(deps.db, async (trx) => {
        const row = await store.insertSource(trx, {
          stack_id: stack?.id ?? null,
          principal: call.principal.id,
          kind: "upload",
          digest: stored.digest,
          size: stored.size,
          files: stored.files,
          url: null,
          ref: facts.ref ?? null,
          revision: facts.revision ?? null,
          author: facts.author ?? null,
          message: facts.message ?? null,
          dirty: facts.dirty ?? null,
          created_by: call.by,
        });
        if (stack !== undefined)
          await stackEvent(trx, stack, { code: "source_created", params: { revision: facts.revision ?? stored.digest.slice(7, 19) } });
        await audit(trx, call, "sources.upload", `stack:${stackName}`, { digest: stored.digest });
        // For a stack that is not there yet, whoever may make it may deploy to it.
        return present(row, stack === undefined ? () => true : await stacks.permissionsIn(call, stack), stack ?? { deleting: false });
      });
    },

    async fetch(call: Call, stackName: string, wanted: { url: string; ref?: string; credential?: string }): Promise<Source> {
      const stack = await stacks.find(call, stackName, "releases.deploy");
      const opened: GitCredentials | undefined =
        wanted.credential === undefined ? undefined : await credentials.open(deps.db, deps.secretBox, stack.id, wanted.credential);
      const knownHosts = await credentials.knownHosts(deps.db);
      const stored = await deps.fetchGit(
        { url: wanted.url, ref: wanted.ref ?? "HEAD", knownHosts, ...(opened === undefined ? {} : { credentials: opened }) },
        call.signal,
      );
      return transaction(deps.db, async (trx) => {
        const row = await store.insertSource(trx, {
          stack_id: stack.id,
          principal: call.principal.id,
          kind: "git",
          digest: stored.digest,
          size: stored.size,
          files: stored.files,
          url: wanted.url,
          ref: wanted.ref ?? null,
          revision: stored.revision,
          author: stored.author,
          message: stored.message,
          dirty: false,
          created_by: call.by,
        });
        await stackEvent(trx, stack, { code: "source_created", params: { revision: stored.revision } });
        await audit(trx, call, "sources.fetch", `stack:${stackName}`, { url: wanted.url, revision: stored.revision });
        return keepAnswer(trx, call, present(row, await stacks.permissionsIn(call, stack), stack));
      });
    },

    async list(call: Call, stackName: string, query: ListRequest & { kind?: Source["kind"] }): Promise<Page<Source>> {
      const stack = await stacks.find(call, stackName);
      const page = slice(store.sourceList, query);
      const may = await stacks.permissionsIn(call, stack);
      return toPage(await store.listSources(deps.db, stack.id, { page, kind: query.kind }), page, (row) => present(row, may, stack));
    },

    async listCredentials(call: Call, stackName: string, query: ListRequest & { kind?: string }): Promise<Page<Credential>> {
      const stack = await stacks.find(call, stackName);
      const page = slice(credentials.credentialList, query);
      const allowed = credentialVerbs(await stacks.permissionsIn(call, stack), stack);
      return toPage(await credentials.list(deps.db, stack.id, { page, kind: query.kind }), page, (row) => ({
        name: row.name,
        kind: row.kind,
        updatedAt: row.updated_at.toISOString(),
        allowed,
      }));
    },

    async setCredential(call: Call, stackName: string, name: string, value: GitCredentials): Promise<void> {
      await transaction(deps.db, async (trx) => {
        const stack = await stacks.find(call, stackName, "secrets.write", { trx });
        await credentials.set(trx, deps.secretBox, stack.id, name, value);
        await audit(trx, call, "credentials.set", `stack:${stackName}`, { credential: name });
      });
    },

    async deleteCredential(call: Call, stackName: string, name: string): Promise<void> {
      await transaction(deps.db, async (trx) => {
        const stack = await stacks.find(call, stackName, "secrets.write", { trx });
        if (!(await credentials.remove(trx, stack.id, name)))
          throw new BerthError("not_found", { kind: "credential", name, hint: "`berth credentials list` shows them." });
        await audit(trx, call, "credentials.delete", `stack:${stackName}`, { credential: name });
      });
    },

    async knownHosts(query: ListRequest): Promise<Page<KnownHost>> {
      const page = slice(credentials.knownHostList, query);
      return toPage(await credentials.listKnownHosts(deps.db, page), page, (row) => ({
        line: row.line,
        createdAt: row.created_at.toISOString(),
      }));
    },

    async addKnownHost(call: Call, line: string): Promise<void> {
      await transaction(deps.db, async (trx) => {
        await credentials.addKnownHost(trx, line);
        await audit(trx, call, "known-hosts.add", "installation", { host: line.split(" ")[0] ?? "" });
      });
    },
  };
}

function present(row: store.SourceRow, may: MayHere, stack: Pick<StackHandle, "deleting">): Source {
  return {
    id: row.id,
    kind: row.kind,
    digest: row.digest,
    size: row.size,
    files: row.files,
    ...(row.url === null ? {} : { url: row.url }),
    ...(row.ref === null ? {} : { ref: row.ref }),
    ...(row.revision === null ? {} : { revision: row.revision }),
    ...(row.author === null ? {} : { author: row.author }),
    ...(row.message === null ? {} : { message: row.message }),
    ...(row.dirty === null ? {} : { dirty: row.dirty }),
    createdAt: row.created_at.toISOString(),
    createdBy: row.created_by,
    allowed: sourceVerbs(may, stack),
  };
}
