//! Names: the engine's conflict answer decides, whoever asks at the same time.

use std::collections::BTreeSet;

use bottle::backend::Backend as _;
use bottle::ids::Role;
use bottle::plan::names::Names;
use futures::future::join_all;

use crate::farm::{Farm, assert_works};

#[tokio::test(start_paused = true)]
async fn two_launches_of_one_agent_at_once_are_two_bottles() {
    let farm = Farm::new().await;
    let (first, second) = (farm.plan_of(false).await, farm.plan_of(false).await);
    assert_eq!(first.0.slug(), second.0.slug());
    let launches = [first, second].map(|(plan, material)| farm.runtime.launch(plan, material));
    let bottles: Vec<_> = join_all(launches).await.into_iter().map(Result::unwrap).collect();
    let slugs: BTreeSet<_> = bottles.iter().map(|bottle| bottle.slug().to_string()).collect();
    assert_eq!(slugs, ["coder", "coder-2"].map(str::to_owned).into());
    for bottle in &bottles {
        assert_works(bottle).await;
    }
    assert_eq!(farm.owned().await.len(), 10, "the loser's first attempt left nothing");
}

#[tokio::test(start_paused = true)]
async fn eight_launches_of_two_runtimes_at_once_have_eight_names() {
    let farm = Farm::new().await;
    let other = farm.second_runtime().await;
    let mut plans = Vec::new();
    for _ in 0..8 {
        plans.push(farm.plan_of(false).await);
    }
    let launches = plans.into_iter().enumerate().map(|(n, (plan, material))| {
        let runtime = if n % 2 == 0 { &farm.runtime } else { &other };
        runtime.launch(plan, material)
    });
    let bottles: Vec<_> = join_all(launches).await.into_iter().map(Result::unwrap).collect();
    let slugs: BTreeSet<_> = bottles.iter().map(|bottle| bottle.slug().clone()).collect();
    assert_eq!(slugs.len(), 8);
    assert_eq!(farm.owned().await.len(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_container_with_the_name_gives_the_next_number_and_is_left_alone() {
    for role in Role::ALL {
        let farm = Farm::new().await;
        let (plan, material) = farm.plan_of(false).await;
        // The plan was made before somebody else took one of its names.
        let taken = farm.foreign(Names::of(plan.slug()).member(role)).await;
        let bottle = farm.runtime.launch(plan, material).await.unwrap();
        assert_eq!(bottle.slug().as_str(), "coder-2");
        assert_works(&bottle).await;
        bottle.close().await;
        assert!(farm.engine.member_named(&taken).is_some(), "the foreign {role} is still there");
    }
}

impl Farm {
    /// A container of somebody else with this name.
    async fn foreign(&self, name: &str) -> String {
        self.engine.ensure_member(&crate::farm::foreign_member(name)).await.unwrap();
        name.to_owned()
    }
}
