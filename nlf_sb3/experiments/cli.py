"""The command line: nlf-sb3."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from nlf_sb3.errors import MissingExtraError, require
from nlf_sb3.experiments.train import Train
from nlf_sb3.experiments.tune.command import Tune

_FOR_EXPERIMENTS = ("joblib", "matplotlib", "pandas", "rich", "scipy", "mujoco")


@dataclass
class Reproduce:
    """
    Reproduce both claims on InvertedPendulum: joint objective and trajectory injection over REINFORCE.

    Writes episodes.csv (a row for each episode of each run), summary.json and a picture of each
    protocol. About ten minutes for 5 seeds on two cores. Interrupt it whenever you like: with
    --resume it goes on and repeats no finished run.
    """

    seeds: int = 5
    """Seeds of each arm: 1, 2, 3, 5, 8, then the other integers."""
    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Runs at a time, each in a process of its own. A cluster at an ADDRESS has as many as it has workers."""
    out: Path = Path("results/reproduce")
    """Folder for everything that is written."""
    resume: bool = False
    """Go on with the runs that OUT holds."""
    protocols: tuple[Literal["paper", "feedback"], ...] = ("paper", "feedback")
    """paper: the protocol of the claims. feedback: the same arms with the feedback preset and varied start states."""
    scale: float = 1.0
    """Factor on every number of episodes, for a quick look. The threshold that is where REINFORCE ends moves with it."""
    backend: str = "loky"
    """Where runs run, by joblib's name for it: loky (processes of this machine), dask, sequential, or a package's own.
    Workers need this package, its experiments extra and the same versions, but no shared folder: rows come back.
    Where they see OUT, a run under way has a bar."""
    address: str | None = None
    """Dask's scheduler, such as tcp://scheduler:8786. Left out: DASK_SCHEDULER_ADDRESS, or else JOBS processes here.
    Its workers must have one thread each: dask worker ADDRESS --nworkers 8 --nthreads 1."""
    register: str | None = None
    """Function, as package.module:function, that registers BACKEND with joblib, such as ray.util.joblib:register_ray."""

    needs: ClassVar[tuple[str, ...]] = _FOR_EXPERIMENTS

    def run(self) -> None:
        """Run it."""
        from rich.console import Console

        from nlf_sb3.experiments.reproduce import reproduce

        reproduce(
            self.out,
            protocols=list(self.protocols),
            n_seeds=self.seeds,
            jobs=self.jobs,
            resume=self.resume,
            scale=self.scale,
            console=Console(),
            backend=self.backend,
            address=self.address,
            register=self.register,
        )


@dataclass
class TrainExpert:
    """
    Train the pendulum's expert by the recipe behind the weights that this package ships, and test it.

    About ten minutes. The recipe has a fixed seed: the same machine gives the same weights.
    """

    out: Path = Path("expert.zip")
    """File to write."""

    needs: ClassVar[tuple[str, ...]] = _FOR_EXPERIMENTS

    def run(self) -> None:
        """Run it."""
        from rich.console import Console
        from rich.progress import Progress

        from nlf_sb3.experiments.expert import RECIPE_STEPS, evaluate_expert, train_expert

        if self.out.exists():
            raise FileExistsError(f"{self.out} exists already. Pass another --out.")
        console = Console()
        with Progress(console=console) as progress:
            task = progress.add_task("steps (stops early once every episode is perfect)", total=RECIPE_STEPS)
            expert = train_expert(self.out, lambda steps, _: progress.update(task, completed=steps))
        returns = evaluate_expert(expert)
        console.print(
            f"{self.out}: mean return {returns.mean():.1f}, lowest {returns.min():.0f}, over {len(returns)} episodes"
        )


class TrainCommand(Train):
    __doc__ = Train.__doc__

    needs: ClassVar[tuple[str, ...]] = ("rich",)

    def run(self) -> None:
        """Run it."""
        from rich.console import Console

        from nlf_sb3.experiments.train_run import train

        train(self, Console())


@dataclass
class Bench:
    """
    Time this library beside plain Stable-Baselines3, in the same run on this machine.

    Prints a table and writes bench.json with every single measurement. What is compared alternates in one process, on one
    thread, and ratios are taken pair by pair. About 15 minutes on an idle machine; let nothing else run beside it.
    Interrupt it whenever you like: the parts that were finished are in the file.
    """

    parts: tuple[Literal["reinforce", "joint", "expert", "wrapper", "injection", "import", "scaling"], ...] = (
        "reinforce",
        "joint",
        "expert",
        "wrapper",
        "injection",
        "import",
        "scaling",
    )
    """reinforce: training beside a bare loop over the environment. joint: A2C and PPO with an expert beside
    Stable-Baselines3's. expert: a query. wrapper: FeedbackWrapper's own cost. injection: the paper's protocol, time and
    memory, beside the same in plain PyTorch. import: beside stable_baselines3's. scaling: environments and network widths."""
    repeats: int = 5
    """Of each measurement, each with a seed of its own; what is slow has three at most. Five and more give a 95% bootstrap
    interval of the median, fewer the lowest and the highest."""
    scale: float = 1.0
    """Factor on every number of steps, for a quick look. Below 1, PPO's rollouts are shorter too."""
    out: Path = Path("results/bench")
    """Folder for bench.json, which must not be there yet."""

    needs: ClassVar[tuple[str, ...]] = (*_FOR_EXPERIMENTS, "threadpoolctl")

    def run(self) -> None:
        """Run it."""
        from rich.console import Console

        from nlf_sb3.experiments.bench.bench import bench

        bench(self.out, chosen=self.parts, repeats=self.repeats, scale=self.scale, console=Console())


def main() -> None:
    """Entry point of ``nlf-sb3``."""
    try:
        tyro: Any = require("tyro", "experiments", "The command line")
        from nlf_sb3.experiments.compare.command import Compare  # its options need tyro, which is there by now

        command = tyro.cli(
            Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
            | Annotated[TrainExpert, tyro.conf.subcommand("train-expert")]
            | Annotated[TrainCommand, tyro.conf.subcommand("train"), tyro.conf.UseAppendAction]
            | Annotated[Compare, tyro.conf.subcommand("compare")]
            | Annotated[Tune, tyro.conf.subcommand("tune")]
            | Annotated[Bench, tyro.conf.subcommand("bench")],
            prog="nlf-sb3",
            description="Train Stable-Baselines3 agents from a person's score, words and demonstrations.",
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        )
        for module in command.needs:
            require(module, "experiments", "The command line")
        command.run()
    except MissingExtraError as error:
        sys.exit(str(error))
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"nlf-sb3: {error}")
    except KeyboardInterrupt as error:
        sys.exit(f"nlf-sb3: {str(error) or 'interrupted; finished runs are kept, go on with --resume'}")


if __name__ == "__main__":
    main()
