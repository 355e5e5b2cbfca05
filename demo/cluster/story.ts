import { create } from './acts/create.ts';
import { killDaemon } from './acts/kill.ts';
import { leave } from './acts/leave.ts';
import { loseHost } from './acts/lose.ts';
import { encrypt, proveOnWire, rotate } from './acts/mesh.ts';
import { proveApart } from './acts/roll-call.ts';
import { start } from './acts/start.ts';
import type { ClusterStage } from './stage.ts';
import { Traffic } from './traffic.ts';
import { Wire } from './wire.ts';

/** Tells it all, from nothing to nothing. @throws ProofError at the first claim that does not hold */
export async function tellOfCluster(stage: ClusterStage, sandboxes: number): Promise<void> {
  const before = await start(stage);
  await create(stage, sandboxes);
  stage.narrator.act('Groups are apart');
  await proveApart(stage, stage.sandboxes, '');
  stage.narrator.act('Traffic that is to go on, whatever is done');
  const traffic = await Traffic.start(stage);
  const wire = new Wire(stage, traffic.pair, traffic.port);
  await proveOnWire(stage, traffic, wire, true);
  await encrypt(stage, traffic, wire, false);
  await proveApart(stage, stage.sandboxes, ', in clear');
  await encrypt(stage, traffic, wire, true);
  await rotate(stage, traffic);
  await killDaemon(stage, traffic);
  await loseHost(stage, traffic);
  traffic.end();
  await leave(stage, before);
}
