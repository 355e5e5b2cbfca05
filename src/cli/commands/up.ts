import { flushCompileCache } from 'node:module';
import { resolve } from 'node:path';
import type { Worker } from 'node:worker_threads';
import type { Command } from 'commander';
import type { Engine } from '../../daemon/engine.ts';
import type { Daemon } from '../../daemon/main.ts';
import { addCommand, type Common } from '../command.ts';
import { Journal } from '../journal.ts';
import { print, printJson } from '../output.ts';
import { readVersion } from '../version.ts';

type Options = Common & {
  readonly stateDir?: string;
  readonly runDir?: string;
  readonly config?: string;
  readonly name?: string;
  readonly registry?: string;
};

export function addUp(program: Command): void {
  addCommand(program, {
    usage: 'up',
    summary: 'Run the daemon, in the foreground',
    details:
      'Says when it is ready, in one line. SIGTERM and SIGINT stop it and leave the sandboxes running; the next one that runs on the same folders takes them over.',
    examples: [
      ['culvert up', 'with everything as it is by default'],
      ['culvert up --config /etc/culvert.yaml', 'with a config, see docs/config.md'],
      [
        'culvert up --config b.yaml --name b --run-dir /run/b --state-dir /srv/b',
        'another one; b.yaml has other ranges',
      ],
      ['culvert up --registry etcd://10.0.0.5:2379 --name h1', 'as the host h1 of a cluster'],
    ],
  })
    .option('--state-dir <dir>', 'holds the leases, on a disk that outlives a boot (default: /var/lib/culvert)')
    .option('--run-dir <dir>', 'holds api.sock, culvert.pid and netns/ (default: /run/culvert)')
    .option('--config <file>', 'YAML, or JSON where the name ends so')
    .option('--name <name>', 'tells daemons on one host apart, and hosts of a cluster (default: main)')
    .option('--registry <url>', 'where the hosts of a cluster agree: etcd://HOST:PORT,…, etcds://…, or file:/PATH')
    .action(up);
}

async function up(options: Options): Promise<void> {
  // Only this command needs the daemon, which is most of what there is to load; its two threads load at the same time.
  const { dismissKernelThread, loadKernelThread } = await import('../../daemon/thread-engine.ts');
  const thread = loadKernelThread();
  try {
    await run(options, thread);
  } finally {
    await dismissKernelThread(thread);
  }
}

async function run({ json, config: file, ...given }: Options, thread: Worker): Promise<void> {
  const [{ loadConfig }, { startEngine }, { ServiceManager }] = await Promise.all([
    import('../../daemon/config/load.ts'),
    import('../../daemon/start.ts'),
    import('../../daemon/service-manager.ts'),
  ]);
  const { note } = new Journal((text) => process.stderr.write(text));
  using manager = new ServiceManager(process.env, note);
  const config = await loadConfig(file, {
    ...(given.name === undefined ? {} : { name: given.name }),
    ...(given.registry === undefined ? {} : { registry: given.registry }),
    ...(given.stateDir === undefined ? {} : { stateDir: resolve(given.stateDir) }),
    ...(given.runDir === undefined ? {} : { runDir: resolve(given.runDir) }),
  });
  const version = readVersion();
  // The API is loaded while the kernel thread takes over what an earlier run left.
  const [engine, { serve }] = await Promise.all([
    startEngine(config, version, thread, note),
    import('../../daemon/main.ts'),
  ]);
  const daemon = await serve(engine, config, version, note);
  closeOnSignals(daemon);
  try {
    manager.ready(`Serving ${daemon.socketPath}`);
    manager.watch(() => engine.status());
    await announce(daemon, engine, json === true);
    // as the kernel thread does
    flushCompileCache();
    const failure = await engine.ended;
    if (failure !== undefined) throw failure;
  } finally {
    manager.stopping();
    await daemon.close();
  }
}

async function announce({ socketPath, tcpPort }: Daemon, engine: Engine, json: boolean): Promise<void> {
  const { name, version, pid, live } = await engine.status();
  const sandboxes = live.microvm + live.netns + live.bridge;
  if (json) {
    printJson({
      ready: true,
      name,
      version,
      pid,
      socket: socketPath,
      ...(tcpPort === undefined ? {} : { tcpPort }),
      sandboxes,
    });
    return;
  }
  const tcp = tcpPort === undefined ? '' : ` and TCP port ${tcpPort}`;
  print(`culvert ${version} ${name} is ready at ${socketPath}${tcp} (pid ${pid}, ${sandboxes} sandboxes)`);
}

/** The first signal asks to stop; another says not to wait for it. Either way the sandboxes run on. */
function closeOnSignals(daemon: Daemon): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      daemon.close().catch(() => undefined);
    });
  }
}
