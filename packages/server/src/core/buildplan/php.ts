// PHP: Composer's packages in `vendor`, served by PHP's own server from the folder that is meant to be public.
import type { BuildStep } from "@berth/contract/buildplan.ts";
import { bindHost, brokenManifest, exec, shell, step, takeNotes, type Broken, type Draft, type Notes, type Processes } from "./draft.ts";
import { nodeAssets } from "./node.ts";
import { rangeOfComposer, rangeOfPin } from "./ranges.ts";
import { dig, digText, digTexts, isFields, readJson, type Fields, type Look } from "./source.ts";
import { chooseVersion, saidByFile, saidBySwitchers, type VersionSaid } from "./versions.ts";

const flavours: readonly (readonly [string, string])[] = [
  ["laravel/framework", "laravel"],
  ["symfony/framework-bundle", "symfony"],
  ["slim/slim", "slim"],
  ["cakephp/cakephp", "cakephp"],
  ["codeigniter4/framework", "codeigniter"],
  ["yiisoft/yii2", "yii"],
  ["laravel/lumen-framework", "lumen"],
];

export function detectPhp(look: Look): Draft | Broken | undefined {
  const parsed = readJson(look, "composer.json");
  if (parsed !== undefined && !parsed.ok) return brokenManifest(look, "composer.json", parsed.reason);
  const page = ["public/index.php", "web/index.php", "webroot/index.php", "index.php"].find((file) => look.has(file));
  if (parsed === undefined && page === undefined) return undefined;
  const notes = takeNotes();
  const manifest = parsed?.value;
  notes.found(
    look.label(manifest === undefined ? (page ?? "") : "composer.json"),
    manifest === undefined ? "PHP pages without Composer: nothing is installed" : "a Composer project",
  );
  const required = digTexts(manifest, "require");
  const flavour = flavours.find(([name]) => required.has(name))?.[1];
  if (flavour !== undefined) notes.found(look.label("composer.json"), `uses ${flavour}`);
  const extensions = [...required.keys()].filter((name) => name.startsWith("ext-"));
  if (extensions.length > 0)
    notes.found(look.label("composer.json"), `needs the PHP extensions ${extensions.map((name) => name.slice(4)).join(", ")}`);
  const install = manifest === undefined ? undefined : installStep(look, manifest, required, notes);
  const assets = nodeAssets(look, true, notes);
  const web = webProcess(look, flavour, page, notes);
  return {
    kind: "php",
    flavour,
    root: look.root,
    strength: manifest === undefined ? "file" : "manifest",
    tools: [
      { name: "php", ...phpVersion(look, required, notes), phase: "both" },
      ...(install === undefined ? [] : [{ name: "composer", wanted: ">=2", why: "composer.json", phase: "build" as const }]),
      ...(assets?.tools ?? []),
    ],
    steps: [...(install === undefined ? [] : [install]), ...(assets?.steps ?? [])],
    processes: web === undefined ? {} : { web },
    env: {
      PHP_CLI_SERVER_WORKERS: "4",
      ...(flavour === "laravel" ? { LOG_CHANNEL: "stderr" } : {}),
      ...(flavour === "symfony" ? { APP_ENV: "prod" } : {}),
    },
    caches: [
      ...(install === undefined ? [] : [{ name: "composer", env: { COMPOSER_CACHE_DIR: "$CACHE", COMPOSER_ALLOW_SUPERUSER: "1" } }]),
      ...(assets?.caches ?? []),
    ],
    exclude: assets?.exclude ?? [],
    notes,
  };
}

/** The outcome may come from the cache when it follows from the lockfile alone: no scripts, no paths, no scanned classes. */
function installStep(look: Look, manifest: Fields, required: ReadonlyMap<string, string>, notes: Notes): BuildStep | undefined {
  const packages = [...required.keys()].filter((name) => name !== "php" && !/^(?:ext|lib|php|composer)-/.test(name) && name.includes("/"));
  const autoload = isFields(dig(manifest, "autoload"));
  if (packages.length === 0 && !autoload) return undefined;
  if (packages.length === 0)
    return step(
      "install",
      exec("composer", "dump-autoload", "--no-dev", "--no-interaction"),
      "composer.json names no packages, only classes to load",
      false,
    );
  const locked = look.has("composer.lock");
  if (!locked) notes.warn("lockfile_missing", { manifest: look.label("composer.json"), command: "composer update" });
  const lock = look.read("composer.lock")?.toLowerCase();
  const missing = lock === undefined ? undefined : packages.slice(0, 500).find((name) => !lock.includes(`"${name.toLowerCase()}"`));
  if (missing !== undefined)
    notes.warn("lockfile_outdated", {
      lockfile: look.label("composer.lock"),
      manifest: look.label("composer.json"),
      detail: `${missing} is missing`,
      command: "composer update --lock",
    });
  const scripts = isFields(dig(manifest, "scripts")) && Object.keys(dig(manifest, "scripts") ?? {}).length > 0;
  const paths = /"type"\s*:\s*"path"/.test(JSON.stringify(dig(manifest, "repositories") ?? ""));
  const scanned = dig(manifest, "autoload", "classmap") !== undefined || dig(manifest, "config", "optimize-autoloader") === true;
  const sound = locked && !scripts && !paths && !scanned;
  const command = exec(
    "composer",
    "install",
    "--no-dev",
    "--no-interaction",
    "--no-progress",
    "--prefer-dist",
    ...(sound ? [] : ["--optimize-autoloader"]),
  );
  const base = step("install", command, locked ? "composer.lock" : "composer.json has packages and no lockfile", true);
  return sound ? { ...base, inputs: ["composer.json", "composer.lock"], outputs: [vendorFolder(manifest)] } : base;
}

function vendorFolder(manifest: Fields): string {
  const named = digText(manifest, "config", "vendor-dir");
  return named !== undefined && /^[\w.-]+(?:\/[\w.-]+)*$/.test(named) && !named.includes("..") ? named : "vendor";
}

function webProcess(look: Look, flavour: string | undefined, page: string | undefined, notes: Notes): Processes[string] | undefined {
  if (page === undefined && flavour !== "laravel") return undefined;
  notes.warn("development_server", {
    program: "PHP's built-in server",
    better: "a Procfile with the server of your choice (FrankenPHP, RoadRunner, php-fpm)",
  });
  if (flavour === "laravel") {
    const router = look.has("server.php") ? "../server.php" : "../vendor/laravel/framework/src/Illuminate/Foundation/resources/server.php";
    return { command: shell(`cd public && exec php -S ${bindHost}:$PORT ${router}`), why: "Laravel's own router script" };
  }
  const dir = page?.includes("/") === true ? page.slice(0, page.indexOf("/")) : ".";
  return { command: shell(`exec php -S ${bindHost}:$PORT -t ${dir}`), why: `${page ?? ""} is there` };
}

function phpVersion(look: Look, required: ReadonlyMap<string, string>, notes: Notes): { wanted: string; why: string } {
  const said: VersionSaid[] = [];
  const php = required.get("php");
  if (php !== undefined) said.push({ file: look.label("composer.json"), says: php, wanted: rangeOfComposer(php) });
  const parsed = readJson(look, "composer.json");
  const platform = parsed !== undefined && parsed.ok ? digText(parsed.value, "config", "platform", "php") : undefined;
  if (platform !== undefined) said.push({ file: look.label("composer.json"), says: platform, wanted: rangeOfPin(platform, "minor") });
  said.push(...saidByFile(look, [".php-version"], "minor"), ...saidBySwitchers(look, ["php"], "minor", notes));
  return chooseVersion("php", said, notes);
}
