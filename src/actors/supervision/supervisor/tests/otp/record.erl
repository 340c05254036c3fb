%% Records what OTP's own supervisor does in random scenarios; `recorded.txt` is its output and says how it was made.
%%
%% A child's kind is its restart type (P permanent, R transient, T temporary), then how it ends when it is to stop:
%% t as asked, s only when killed after the time-out, k it is killed at once (brutal_kill); `!` when significant.
%% A step lists what was done, then what followed: +a started, !a its start failed, -a stopped, xa was killed by the
%% supervisor, `.` the supervisor ended.

-module(record).
-behaviour(supervisor).
-export([main/1, init/1, start_child/3, child/4]).

main([Count]) ->
    logger:set_primary_config(level, none),
    ets:new(failing, [named_table, public]),
    register(driver, self()),
    io:format("# OTP ~s, stdlib ~s; erl +S 1 -run record main ~s~n",
              [erlang:system_info(otp_release), stdlib_version(), Count]),
    [scenario(N) || N <- lists:seq(1, list_to_integer(Count))],
    halt().

stdlib_version() ->
    application:load(stdlib),
    {ok, Version} = application:get_key(stdlib, vsn),
    Version.

%% One scenario: flags and children by lot, then steps until the supervisor has ended.
scenario(N) ->
    rand:seed(exsss, {N, 17, 4711}),
    ets:delete_all_objects(failing),
    Strategy = pick([one_for_one, rest_for_one, one_for_all]),
    Auto = pick([never, any_significant, all_significant]),
    Intensity = pick([0, 1, 2, 3, 3, 4, 6]),
    Ids = lists:sublist("abcde", rand:uniform(5)),
    Specs = [spec(Id, Auto) || Id <- Ids],
    io:format("~n~s ~b ~s: ~s~n", [Strategy, Intensity, Auto, lists:join(" ", [kind(S) || S <- Specs])]),
    Flags = #{strategy => Strategy, intensity => Intensity, period => 100000, auto_shutdown => Auto},
    Failing = case rand:uniform(10) of 1 -> fail(pick(Ids)); _ -> "" end,
    Self = self(),
    Parent = spawn_link(fun() -> parent(Self, Flags, Specs) end),
    Begun = settle(#{live => [], said => []}),
    say(Failing ++ "begin", Begun),
    steps(8, Strategy, Ids, Parent, Begun),
    unlink(Parent),
    exit(Parent, kill).

steps(_, _, _, _, #{sup := ended}) -> ok;
steps(Left, Strategy, Ids, Parent, State = #{live := Live}) ->
    case Left =:= 0 orelse Live =:= [] orelse rand:uniform(12) =:= 1 of
        true ->
            Parent ! shutdown,
            say("shutdown", settle(State#{said := []}));
        false ->
            Failing = case rand:uniform(4) of 1 -> fail(pick(Ids)); _ -> "" end,
            Victims = victims(Strategy, lists:sort([Id || {Id, _} <- Live])),
            {Done, After} = deaths(Victims, State#{said := []}),
            Next = settle(After),
            say(Failing ++ Done, Next),
            steps(Left - 1, Strategy, Ids, Parent, Next)
    end.

%% With rest_for_one in start order only: of two deaths the later child first, OTP restarts the later ones twice,
%% where ours lets the second death absorb the first restart.
victims(Strategy, Live) ->
    Count = pick([1, 1, 1, 1, 2, 2, 3]),
    Chosen = lists:sublist(shuffle(Live), Count),
    case Strategy of
        rest_for_one -> lists:sort(Chosen);
        _ -> Chosen
    end.

%% Lets children end while the supervisor cannot look, so that it finds all the deaths at once.
deaths(Victims, State = #{sup := Sup, live := Live}) ->
    erlang:suspend_process(Sup),
    Said = [begin
                {Id, Pid} = lists:keyfind(Id, 1, Live),
                Reason = pick([normal, shutdown, killed, killed, failed]),
                case Reason of
                    killed -> exit(Pid, kill);
                    _ -> Pid ! {finish, Reason}
                end,
                receive {'DOWN', _, process, Pid, _} -> ok end,
                io_lib:format("~c ~s", [Id, Reason])
            end || Id <- Victims],
    erlang:resume_process(Sup),
    Left = [Child || Child = {Id, _} <- Live, not lists:member(Id, Victims)],
    {lists:flatten(lists:join(", ", Said)), State#{live := Left}}.

%% Notes what follows until nothing has followed for a while.
settle(State = #{live := Live, said := Said}) ->
    receive
        {started, Id, Pid, From} ->
            erlang:monitor(process, Pid),
            From ! noted,
            settle(State#{live := [{Id, Pid} | Live], said := [[$+, Id] | Said]});
        {failed, Id} ->
            settle(State#{said := [[$!, Id] | Said]});
        {begun, Sup} ->
            erlang:monitor(process, Sup),
            settle(State#{sup => Sup});
        not_begun ->
            settle(State#{sup => ended, said := ["." | Said]});
        {'DOWN', _, process, Pid, Reason} ->
            case {State, lists:keyfind(Pid, 2, Live)} of
                {#{sup := Pid}, _} ->
                    settle(State#{sup := ended, said := ["." | Said]});
                {_, {Id, Pid}} ->
                    Sign = case Reason of killed -> $x; shutdown -> $- end,
                    settle(State#{live := lists:keydelete(Pid, 2, Live), said := [[Sign, Id] | Said]})
            end
    after 25 -> State
    end.

say(Done, #{said := Said}) ->
    io:format("~s ->~s~n", [Done, [[" ", Fact] || Fact <- lists:reverse(Said)]]).

%% The next start or two of this child will fail.
fail(Id) ->
    Times = rand:uniform(2),
    ets:insert(failing, {Id, Times}),
    io_lib:format("fail ~c ~b, ", [Id, Times]).

parent(Driver, Flags, Specs) ->
    process_flag(trap_exit, true),
    case supervisor:start_link(?MODULE, {Flags, Specs}) of
        {ok, Sup} ->
            Driver ! {begun, Sup},
            receive shutdown -> exit(Sup, shutdown) end,
            receive after infinity -> ok end;
        {error, _} ->
            Driver ! not_begun,
            receive after infinity -> ok end
    end.

init({Flags, Specs}) -> {ok, {Flags, Specs}}.

spec(Id, Auto) ->
    Restart = pick([permanent, permanent, transient, transient, temporary]),
    Ends = pick([asked, asked, stubborn, brutal]),
    Shutdown = case Ends of brutal -> brutal_kill; stubborn -> 5; asked -> 5000 end,
    #{id => Id, start => {?MODULE, start_child, [Id, Ends, Restart]}, restart => Restart, shutdown => Shutdown,
      significant => Auto =/= never andalso Restart =/= permanent andalso rand:uniform(2) =:= 1}.

kind(#{start := {_, _, [_, Ends, Restart]}, significant := Significant}) ->
    [case Restart of permanent -> $P; transient -> $R; temporary -> $T end,
     case Ends of asked -> $t; stubborn -> $s; brutal -> $k end,
     case Significant of true -> "!"; false -> "" end].

start_child(Id, Ends, _) ->
    case ets:lookup(failing, Id) of
        [{Id, Times}] when Times > 0 ->
            ets:insert(failing, {Id, Times - 1}),
            driver ! {failed, Id},
            {error, no};
        _ ->
            {ok, Pid} = proc_lib:start_link(?MODULE, child, [self(), Id, Ends, ok]),
            driver ! {started, Id, Pid, self()},
            receive noted -> {ok, Pid} end
    end.

child(Sup, Id, Ends, ok) ->
    process_flag(trap_exit, true),
    proc_lib:init_ack(Sup, {ok, self()}),
    child(Sup, Id, Ends, up);
child(Sup, Id, Ends, up) ->
    receive
        {'EXIT', Sup, shutdown} when Ends =/= stubborn -> exit(shutdown);
        {finish, failed} -> exit(no);
        {finish, Reason} -> exit(Reason);
        _ -> child(Sup, Id, Ends, up)
    end.

pick(List) -> lists:nth(rand:uniform(length(List)), List).

shuffle(List) -> [Item || {_, Item} <- lists:sort([{rand:uniform(), Item} || Item <- List])].
