import { growTo, race } from './contestants/creator.ts';
import { Culvert } from './contestants/culvert.ts';
import { KernelLimit } from './contestants/kernel-limit.ts';
import { assertSameObjects } from './same-objects.ts';
import type { Scale } from './scale.ts';
import type { Stage } from './stage.ts';

/** µs per create, a value for each round */
type Costs = { readonly culvert: readonly number[]; readonly kernel: readonly number[] };

/** A daemon with many sandboxes, and what creating them cost on the way, next to the kernel's limit. */
export type Crowd = { readonly culvert: Culvert; readonly atFew: Costs; readonly atMany: Costs };

/** Grows a daemon and the kernel's limit side by side; the latter is let go when it has been measured. */
export async function growCrowd(stage: Stage, { few, many, rounds, perRound, practice }: Scale): Promise<Crowd> {
  const culvert = await Culvert.start(stage);
  try {
    const { mtu } = await culvert.client.status();
    const costs: Costs[] = [];
    {
      using kernel = new KernelLimit(stage, { mtu });
      await assertSameObjects(culvert, kernel);
      await culvert.practise(practice);
      for (const around of [few, many]) {
        const [ours = [], limit = []] = await race([culvert, kernel], { around, rounds, perRound });
        costs.push({ culvert: ours, kernel: limit });
      }
    }
    await stage.cleanedUp();
    await growTo(culvert, many);
    const [atFew, atMany] = costs as [Costs, Costs];
    return { culvert, atFew, atMany };
  } catch (error) {
    culvert[Symbol.dispose]();
    throw error;
  }
}
