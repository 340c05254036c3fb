//! Every promise of [`bottle::backend::Backend`], checked on the in-memory backend and on a real engine.
//!
//! One check is one function over a [`lab::Lab`]; the table below runs it on both. A lab owns its names, its
//! address pool and its shared network, and its last check is that nothing of it is left.
#![expect(clippy::unwrap_used, unreachable_pub, reason = "tests; checks are named from the table below")]

#[path = "../support/mod.rs"]
mod support;

mod archives;
mod engine_only;
mod execs;
mod ground;
mod isolation;
mod lab;
mod lifecycle;
mod members;
mod model;

macro_rules! contract {
    ($($module:ident::$check:ident),* $(,)?) => {
        mod on_memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                crate::lab::Lab::memory().run(|lab| Box::pin(crate::$module::$check(lab))).await;
            })*
        }
        mod on_docker {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                if let Some(lab) = crate::lab::Lab::docker().await {
                    lab.run(|lab| Box::pin(crate::$module::$check(lab))).await;
                }
            })*
        }
    };
}

contract! {
    ground::ground_is_found_again_with_the_same_addresses,
    ground::a_half_made_ground_is_completed,
    ground::a_foreign_zone_is_a_name_conflict,
    ground::a_used_up_pool_is_no_address_space_and_leaves_nothing,
    ground::concurrent_grounds_never_overlap,
    ground::concurrent_grounds_of_one_bottle_are_one_ground,
    ground::concurrent_claims_on_one_name_have_one_winner,
    ground::removing_ground_twice_is_success,
    ground::the_shared_zone_stays_while_a_member_is_on_it,
    members::a_member_is_found_again,
    members::a_foreign_member_is_a_name_conflict,
    members::concurrent_claims_on_a_name_have_one_winner,
    members::a_changed_specification_replaces_a_member_that_does_not_run,
    members::a_running_member_is_never_replaced,
    members::a_missing_image_is_not_found,
    members::a_missing_network_is_not_found,
    members::members_keep_their_address_over_a_restart,
    members::owned_lists_by_bottle_owner_and_anyone,
    lifecycle::nothing_of_the_first_output_is_lost,
    lifecycle::material_reaches_standard_input_and_ends,
    lifecycle::open_input_takes_lines_and_survives_a_new_attachment,
    lifecycle::starting_a_running_member_attaches_without_material,
    lifecycle::attaching_to_what_does_not_run_is_refused,
    lifecycle::wait_gives_the_exit_code_also_afterwards,
    lifecycle::waiting_for_a_missing_member_is_not_found,
    lifecycle::stop_ends_a_member_within_its_grace,
    lifecycle::gone_is_a_state,
    lifecycle::an_ended_member_starts_again,
    lifecycle::logs_hold_both_streams,
    lifecycle::statistics_of_a_running_member,
    execs::exit_codes_pass_through,
    execs::output_streams_are_separate,
    execs::input_is_read_to_its_end,
    execs::environment_user_and_directory_are_applied,
    execs::a_missing_program_is_an_exit_code,
    execs::a_terminal_has_one_stream_and_a_size,
    execs::resizing_without_a_terminal_is_denied,
    execs::kill_reaches_processes_that_left_the_group,
    execs::kill_spares_other_commands,
    execs::a_member_that_does_not_run_refuses_commands,
    archives::a_tree_comes_back_with_modes,
    archives::twenty_megabytes_go_in_and_out,
    archives::a_missing_path_is_not_found,
    archives::a_created_member_takes_archives,
}
