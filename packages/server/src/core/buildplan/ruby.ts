// Ruby: gems in `vendor/bundle`, and a Rack server for Rails, Sinatra or whatever config.ru holds.
import type { BuildStep } from "@berth/contract/buildplan.ts";
import { bindHost, exec, shell, step, takeNotes, type Draft, type Notes, type Processes } from "./draft.ts";
import { nodeAssets } from "./node.ts";
import { rangeOfRuby } from "./ranges.ts";
import type { Look } from "./source.ts";
import { chooseVersion, saidByFile, saidBySwitchers, type VersionSaid } from "./versions.ts";

const programs = ["app.rb", "main.rb", "server.rb", "web.rb"];

export function detectRuby(look: Look): Draft | undefined {
  const program = programs.find((file) => look.has(file));
  const manifest = look.has("Gemfile") ? "Gemfile" : look.has("config.ru") ? "config.ru" : undefined;
  if (manifest === undefined && program === undefined) return undefined;
  const notes = takeNotes();
  const gemfile = (look.read("Gemfile") ?? "").replaceAll(/(^|\s)#[^\n]*/g, "$1");
  const gems = new Set([...gemfile.matchAll(/^[ \t]*gem[ \t(]+["']([\w.-]+)["']/gm)].map((match) => match[1] ?? ""));
  const rails = gems.has("rails") || (gems.has("railties") && look.has("config/application.rb"));
  const flavour = rails
    ? "rails"
    : (["sinatra", "hanami", "roda", "grape"].find((name) => gems.has(name)) ?? (look.has("config.ru") ? "rack" : undefined));
  notes.found(
    look.label(manifest ?? program ?? ""),
    manifest === undefined
      ? "a Ruby program without a Gemfile: nothing is installed"
      : `a Ruby project${flavour === undefined ? "" : ` that uses ${flavour}`}`,
  );
  const install = installStep(look, gemfile, gems, notes);
  const bundled = install !== undefined;
  const assets = rails ? nodeAssets(look, false, notes) : undefined;
  const precompiles =
    rails &&
    bundled &&
    ["sprockets-rails", "sprockets", "propshaft", "cssbundling-rails", "jsbundling-rails", "tailwindcss-rails"].some((name) =>
      gems.has(name),
    );
  const web = webProcess(look, { rails, gems, program, bundled }, notes);
  const processes: [string, Processes[string]][] = web === undefined ? [] : [["web", web]];
  if (gems.has("sidekiq")) processes.push(["worker", { command: exec("bundle", "exec", "sidekiq"), why: "the Gemfile has sidekiq" }]);
  else if (look.has("worker.rb"))
    processes.push(["worker", { command: exec(...(bundled ? ["bundle", "exec"] : []), "ruby", "worker.rb"), why: "worker.rb" }]);
  return {
    kind: "ruby",
    flavour,
    root: look.root,
    strength: manifest === undefined ? "file" : "manifest",
    tools: [
      { name: "ruby", ...rubyVersion(look, gemfile, notes), phase: "both" },
      ...(bundled ? [{ name: "bundler", wanted: "*", why: "Gemfile", phase: "both" as const }] : []),
      ...(assets?.tools ?? []),
    ],
    steps: [
      ...(install === undefined ? [] : [install]),
      ...(assets?.steps ?? []),
      ...(precompiles
        ? [
            step(
              "build",
              exec("env", "SECRET_KEY_BASE_DUMMY=1", "bundle", "exec", "rails", "assets:precompile"),
              "Rails serves compiled assets",
              true,
            ),
          ]
        : []),
    ],
    processes: Object.fromEntries(processes),
    env: {
      ...(bundled ? { BUNDLE_PATH: "$ROOT/vendor/bundle", BUNDLE_WITHOUT: "development:test" } : {}),
      RACK_ENV: "production",
      ...(rails ? { RAILS_ENV: "production", RAILS_LOG_TO_STDOUT: "1", RAILS_SERVE_STATIC_FILES: "1" } : {}),
    },
    caches: [
      ...(bundled ? [{ name: "bundler", env: { BUNDLE_USER_CACHE: "$CACHE", BUNDLE_GLOBAL_GEM_CACHE: "true" } }] : []),
      ...(assets?.caches ?? []),
    ],
    exclude: assets?.exclude ?? [],
    notes,
  };
}

function installStep(look: Look, gemfile: string, gems: ReadonlySet<string>, notes: Notes): BuildStep | undefined {
  const gemspec = /^[ \t]*gemspec\b/m.test(gemfile);
  if (gems.size === 0 && !gemspec) return undefined;
  const locked = look.has("Gemfile.lock");
  if (!locked) {
    notes.warn("lockfile_missing", { manifest: look.label("Gemfile"), command: "bundle lock" });
    return step("install", exec("bundle", "install"), "the Gemfile has gems and no lockfile", true);
  }
  const listed = /^DEPENDENCIES[ \t]*\r?\n((?: {2}.*\n?)*)/m.exec(look.read("Gemfile.lock") ?? "")?.[1];
  const missing =
    listed === undefined
      ? undefined
      : [...gems].slice(0, 500).find((name) => !new RegExp(`^ {2}${name.replaceAll(".", "\\.")}(?:[ !]|$)`, "m").test(listed));
  if (missing !== undefined)
    notes.warn("lockfile_outdated", {
      lockfile: look.label("Gemfile.lock"),
      manifest: look.label("Gemfile"),
      detail: `${missing} is missing`,
      command: "bundle install",
    });
  const base = step("install", exec("env", "BUNDLE_FROZEN=true", "bundle", "install"), "Gemfile.lock", true);
  const local = gemspec || /\bpath:|:path[ \t]*=>|\beval_gemfile\b|\brequire_relative\b|^[ \t]*path[ \t]/m.test(gemfile);
  return local
    ? base
    : {
        ...base,
        inputs: ["Gemfile", "Gemfile.lock", ...[".ruby-version", ".bundle/config"].filter((file) => look.has(file))],
        outputs: ["vendor/bundle"],
      };
}

interface RubyProject {
  readonly rails: boolean;
  readonly gems: ReadonlySet<string>;
  readonly program: string | undefined;
  readonly bundled: boolean;
}

function webProcess(look: Look, { rails, gems, program, bundled }: RubyProject, notes: Notes): Processes[string] | undefined {
  const bundle = bundled ? "bundle exec " : "";
  const rack = look.has("config.ru");
  if (gems.has("puma") && (rails || rack)) {
    const config = /\bPORT\b/.test(look.read("config/puma.rb") ?? "");
    const command = config
      ? exec(...(bundled ? ["bundle", "exec"] : []), "puma", "-C", "config/puma.rb")
      : shell(`exec ${bundle}puma --bind tcp://${bindHost}:$PORT`);
    return { command, why: config ? "config/puma.rb" : "puma serves config.ru" };
  }
  // A pid file of its own for each port: instances of a release share one folder.
  if (rails)
    return {
      command: shell(`exec ${bundle}rails server --binding ${bindHost} --port $PORT --pid tmp/pids/server.$PORT.pid`),
      why: "Rails",
    };
  if (rack) return { command: shell(`exec ${bundle}rackup --host ${bindHost} --port $PORT`), why: "config.ru" };
  if (program === undefined) return undefined;
  if (gems.has("sinatra"))
    return { command: shell(`exec ${bundle}ruby ${program} -o ${bindHost} -p $PORT`), why: `${program} holds a Sinatra application` };
  notes.found(look.label(program), "is run as it is");
  return { command: exec(...(bundled ? ["bundle", "exec"] : []), "ruby", program), why: `${program} is there` };
}

function rubyVersion(look: Look, gemfile: string, notes: Notes): { wanted: string; why: string } {
  const said: VersionSaid[] = [];
  const line = /^[ \t]*ruby[ \t(]+(["'][^\n#)]{1,300})/m.exec(gemfile)?.[1];
  const parts =
    line === undefined
      ? []
      : [...line.matchAll(/(?<![:\w]\s*)["']([^"']+)["']/g)].map((match) => match[1] ?? "").filter((part) => /\d/.test(part));
  if (parts.length > 0) said.push({ file: look.label("Gemfile"), says: parts.join(", "), wanted: rangeOfRuby(parts) });
  said.push(...saidByFile(look, [".ruby-version"], "minor"), ...saidBySwitchers(look, ["ruby"], "minor", notes));
  return chooseVersion("ruby", said, notes);
}
