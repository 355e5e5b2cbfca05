import type { SandboxResource } from '../../../src/api/client/client.ts';
import { msText } from '../../figures.ts';
import { pause } from '../../pace.ts';
import type { ClusterStage, Host } from '../stage.ts';
import type { Traffic } from '../traffic.ts';

/** ms that traffic runs without the daemon */
const WITHOUT_MS = 1000;

/** Kills the daemon of the host that all talk to, and starts another. */
export async function killDaemon(stage: ClusterStage, traffic: Traffic): Promise<void> {
  const { narrator, figures } = stage;
  const host = stage.host('h1');
  narrator.act(`Kill the daemon of ${host.name}, under load`);
  const before = await bySlot(host);
  await traffic.go();
  const { pid } = host.daemon;
  const begin = performance.now();
  await host.daemon.kill();
  narrator.say(`sent SIGKILL to process ${pid}`);
  await pause(WITHOUT_MS);
  const readyMs = await stage.up(host);
  figures.add(
    'daemon killed',
    msText(performance.now() - begin),
    `until another was ready, of that ${msText(WITHOUT_MS)} without`,
  );
  narrator.say(`another is ready after ${msText(readyMs)} (pid ${host.daemon.pid})`);
  const after = await bySlot(host);
  narrator.prove({
    claim: 'what lived lives on, as it was',
    done: `compared ${before.length} sandboxes with those before the kill`,
    seen: 'all are the same',
    observed: after,
    expected: before,
  });
  await pause(WITHOUT_MS);
  await traffic.proveWhole('meanwhile');
}

async function bySlot({ daemon }: Host): Promise<SandboxResource[]> {
  return (await daemon.client.list()).toSorted((one, other) => one.slot - other.slot);
}
