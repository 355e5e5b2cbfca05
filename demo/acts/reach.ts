import type { Endpoint } from '../../lab/endpoint/endpoint.ts';
import { HOST_ADDRESS, OUTSIDE_ADDRESS } from '../../lab/host.ts';
import type { Resident, Stage } from '../stage.ts';
import { TOPOLOGIES } from './create.ts';

/** How many sandboxes of each topology somebody moves into. */
const RESIDENTS = 2;
const QUESTIONS = 3;
/** ms until an echo counts as missing; it is there in far less than one */
const PATIENCE_MS = 5000;

/** Those that everything is proven from and to. */
export type Neighbours = { readonly outside: Endpoint; readonly host: Endpoint };

/** Puts somebody into several sandboxes, onto the host and outside. */
export async function moveIn(stage: Stage): Promise<Neighbours> {
  const { narrator, ledger } = stage;
  narrator.act('Somebody moves in, and talks to the outside and to the host');
  const outside = await stage.endpoint('outside');
  const host = await stage.endpoint('host');
  const some = TOPOLOGIES.flatMap((topology) =>
    ledger.held.filter((sandbox) => sandbox.topology === topology).slice(0, RESIDENTS),
  );
  await Promise.all(some.map((sandbox) => stage.moveIn(sandbox)));
  return { outside, host };
}

/** Proves that each of them reaches the outside through NAT, and that the host reaches each. */
export async function proveReach(stage: Stage, { outside, host }: Neighbours): Promise<void> {
  for (const resident of stage.residents) {
    const { sandbox, endpoint } = resident;
    const { id, guestAddress, hostAddress } = sandbox;
    const asked = await endpoint.ask({
      to: OUTSIDE_ADDRESS,
      text: `from ${id}`,
      count: QUESTIONS,
      waitMs: PATIENCE_MS,
    });
    const saw = asked.echoes.map((echo) => echo.saw.split(':')[0]);
    stage.narrator.prove({
      claim: `${id} reaches the outside, which sees the host’s address`,
      done: `from ${guestAddress} inside asked ${OUTSIDE_ADDRESS} ${QUESTIONS} times`,
      seen: `${asked.echoes.length} echoes, by ${outside.name}, which saw ${[...new Set(saw)].join(' ')}`,
      observed: { by: asked.echoes.map(({ by }) => by), saw, refused: asked.refused },
      expected: { by: repeat(outside.name), saw: repeat(HOST_ADDRESS), refused: [] },
    });
    const { echoes, refused } = await answersAt(resident, host);
    stage.narrator.prove({
      claim: `the host reaches ${id}`,
      done: `on the host asked ${hostAddress} ${QUESTIONS} times`,
      seen: `${echoes.length} echoes, by ${[...new Set(echoes)].join(' ')}`,
      observed: { echoes, refused },
      expected: { echoes: repeat(id), refused: [] },
    });
  }
}

/** Who answers the host at a sandbox's address. */
export async function answersAt(
  { sandbox: { id, hostAddress } }: Resident,
  host: Endpoint,
): Promise<{ readonly echoes: readonly string[]; readonly refused: readonly string[] }> {
  const asked = await host.ask({ to: hostAddress, text: `to ${id}`, count: QUESTIONS, waitMs: PATIENCE_MS });
  return { echoes: asked.echoes.map(({ by }) => by), refused: asked.refused };
}

function repeat(text: string): string[] {
  return Array.from({ length: QUESTIONS }, () => text);
}
