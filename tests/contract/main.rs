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
mod hand;
mod isolation;
mod lab;
mod lifecycle;
mod line;
mod members;
mod mending;
mod model;
mod news;
mod restarts;

macro_rules! contract {
    (in $memory:ident, $docker:ident: $($module:ident::$check:ident),* $(,)?) => {
        mod $memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                crate::lab::Lab::$memory().run(|lab| Box::pin(crate::$module::$check(lab))).await;
            })*
        }
        mod $docker {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                if let Some(lab) = crate::lab::Lab::$docker().await {
                    lab.run(|lab| Box::pin(crate::$module::$check(lab))).await;
                }
            })*
        }
    };
}

contract! { in memory, docker:
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
    ground::the_subnets_that_were_asked_for_are_taken,
    ground::a_taken_subnet_is_no_address_space_and_leaves_nothing,
    ground::a_zone_on_another_subnet_is_denied_and_stays,
    ground::one_lost_zone_is_made_anew_on_its_subnet,
    news::what_an_outside_hand_does_is_heard_in_order,
    news::a_network_taken_away_is_heard_of_its_members_and_of_the_ground,
    news::nothing_between_the_call_and_the_first_look_is_lost,
    news::a_removed_running_member_has_ended_before,
    mending::a_member_as_specified_is_left_alone,
    mending::a_renamed_member_gets_its_name_back,
    mending::a_lost_attachment_comes_back_with_its_address,
    mending::a_wrong_address_is_put_right,
    mending::a_way_around_the_gate_is_taken_off,
    mending::a_paused_sidecar_goes_on,
    mending::a_paused_agent_stays_paused_and_is_mended,
    mending::mending_needs_the_ground_and_takes_the_one_made_anew,
    mending::a_mended_member_starts_again_on_the_ground_made_anew,
    mending::what_does_not_run_is_not_mended,
    mending::a_renamed_member_is_found_again_by_its_labels,
    mending::a_paused_sidecar_makes_room_and_a_paused_agent_does_not,
    mending::a_paused_member_refuses_streams,
    mending::a_member_that_ended_without_its_attachment_is_made_anew,
    restarts::a_killed_member_starts_again_as_itself,
    restarts::material_once_is_read_anew_with_its_end,
    restarts::open_input_starts_anew_without_what_was_left_unread,
    restarts::open_input_takes_new_material,
    restarts::memory_file_systems_are_fresh_and_the_layer_stays,
    restarts::a_wait_after_the_second_start_waits_for_the_second_end,
    restarts::a_wait_for_a_paused_member_goes_on,
}

contract! { in lossy_memory, lossy_docker:
    news::a_lost_engine_ends_what_listens_and_waits,
    news::a_hung_engine_is_lost_to_those_who_watch,
    news::a_short_silence_loses_nothing,
}
