%% erl -noshell -pa FOLDER -run archives main write|read ARCHIVE FOLDER
-module(archives).
-export([main/1]).

main(["write", Archive, Folder]) ->
    {ok, _} = zip:create(Archive, ["x.npy", "y.npy", "deep/z.npy"], [{cwd, Folder}]),
    halt(0);
main(["read", Archive, Folder]) ->
    case zip:extract(Archive, [{cwd, Folder}]) of
        {ok, _} -> halt(0);
        Error -> io:format("~p~n", [Error]), halt(1)
    end.
