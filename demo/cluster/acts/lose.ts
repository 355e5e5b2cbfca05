import { msText } from '../../figures.ts';
import { pause } from '../../pace.ts';
import type { ClusterStage } from '../stage.ts';
import type { Traffic } from '../traffic.ts';
import { untilHosts } from '../wait.ts';
import { createOne } from './create.ts';
import { proveApart } from './roll-call.ts';
import { areJoined } from './start.ts';

/** Takes a whole host from the network, has the others go on without it, and gives it back. */
export async function loseHost(stage: ClusterStage, traffic: Traffic): Promise<void> {
  const { narrator, underlay, figures } = stage;
  const lost = stage.host('h3');
  const [first] = stage.hosts;
  const others = stage.sandboxes.filter(({ host }) => host !== lost);
  narrator.act(`Lose ${lost.name} altogether, under load`);
  await traffic.go();
  const begin = performance.now();
  underlay.cut(lost.place);
  narrator.say('its cable is pulled: neither other hosts nor etcd hear of it');
  await untilHosts(stage, async () => (await stateOf(stage, lost.name)) === false, `${lost.name} to be lost`);
  figures.add('a host lost', msText(performance.now() - begin), 'until the others were told');
  narrator.say(`the others were told after ${msText(performance.now() - begin)}`);
  await traffic.proveDatagramsWhole('between the others meanwhile');
  if (first === undefined) throw new Error('There are three');
  const fresh = await createOne(first, 'web-meanwhile', 'web');
  stage.take([fresh]);
  await proveApart(stage, [...others, fresh], ', with a new one among them');
  await proveApart(
    stage,
    stage.sandboxes.filter(({ host }) => host === lost),
    `, on ${lost.name} itself, for those who are there`,
  );

  narrator.act(`Give ${lost.name} back`);
  const back = performance.now();
  underlay.join(lost.place);
  await untilHosts(stage, async () => (await stateOf(stage, lost.name)) === true, `${lost.name} to be back`);
  narrator.say(`the others were told after ${msText(performance.now() - back)}`);
  await untilHosts(stage, () => areJoined(stage), 'each host to have a way to both others');
  figures.add('and back', msText(performance.now() - back), 'until packets passed between all three again');
  await traffic.go();
  await pause(1000);
  await traffic.proveWhole('with all three again');
  await untilHosts(stage, () => areWell(stage), 'no host to have a problem');
  await proveApart(stage, stage.sandboxes, ', as before');
}

/** Whether a host is alive, as the first one knows. */
async function stateOf({ hosts: [first] }: ClusterStage, name: string): Promise<boolean | undefined> {
  return (await first?.daemon.client.hosts())?.find((host) => host.name === name)?.isAlive;
}

async function areWell({ hosts }: ClusterStage): Promise<boolean> {
  const states = await Promise.all(hosts.map(({ daemon }) => daemon.client.status()));
  return states.every(({ problems }) => problems.length === 0);
}
