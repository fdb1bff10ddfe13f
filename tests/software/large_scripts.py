"""Jobs of jobs.py with much at once: a database server, a terminal multiplexer, a build system, a checker of memory.

Each is slow (10 to 30 s on JefeOS). PostgreSQL forks, shares memory, takes semaphores and syncs; tmux is ptys behind
a Unix socket; Valgrind has a processor and a signal machinery of its own.
"""

from __future__ import annotations

from glob import glob

POSTGRES_SERVER = max(glob("/usr/lib/postgresql/*/bin/postgres"), default="postgres")

# It refuses to be root, and its clients time themselves.
POSTGRES = r"""
d=$(mktemp -d); trap "rm -r $d" EXIT; chown postgres $d; cat > $d/script <<'END'
set -e; bin=$(dirname $1); exec 3>&1 >log 2>&1
$bin/initdb -D data -A trust -E UTF8 --locale C.UTF-8 -N
$bin/pg_ctl -D data -o "-k $PWD -h ''" -l server -w start
sql="psql -h $PWD postgres -qAt"; $sql 2>&1 <<'SQL' | sed 's/PID.*//' >&3
create table t (i int primary key, s text); insert into t select n, md5(n::text) from generate_series(1, 2000) n;
create index on t (s); analyze t; select sum(i), min(s), max(s) from t; begin; delete from t; rollback;
insert into t values (1, 'twice'); select count(*) from t where s like 'a%';
explain (costs off) select * from t where s = 'x'; listen news; notify news, 'to all';
select i from t order by s collate "C" limit 3; select i::float / 7 from t where i = 5;
SQL
$bin/pgbench -h $PWD -i -q postgres; $bin/pgbench -h $PWD -c 4 -t 20 postgres | grep -e processed -e failed >&3
$sql -c 'select sum(abalance) = (select sum(bbalance) from pgbench_branches), count(*) from pgbench_accounts' >&3
kill -9 $(head -n 1 data/postmaster.pid)
until $bin/pg_ctl -D data -o "-k $PWD -h ''" -l server -w start; do sleep 0.5; done
grep -o 'automatic recovery in progress' server >&3; $sql -c 'select count(*) from pgbench_history' >&3
$bin/pg_dump -h $PWD postgres -t t | grep -v -e ^-- -e '^\\' | md5sum >&3
$bin/pg_ctl -D data -m fast -w stop; grep -c 'database system is shut down' server >&3
END
cd $d; setpriv --reuid=postgres --regid=postgres --clear-groups bash script SERVER || tail log data/server; cd /
""".replace("SERVER", POSTGRES_SERVER)

TMUX = r"""
export TERM=screen; t="tmux -S s -f /dev/null"; $t new-session -d -n first -x 60 -y 12 "PS1='$ ' sh"
screen() { until $t capture-pane -p -t $1 | grep -q "$2"; do sleep 0.1; done; $t capture-pane -p -t $1 | sed '/^$/d'; }
screen 0.0 '[$]'; $t send-keys -t 0 'stty size; echo one' Enter; screen 0.0 '^one'; $t split-window -h "PS1='% ' sh"
screen 0.1 %; $t send-keys -t 0.1 'stty size; printf "\033[3;5Hmoved"; read x' Enter; screen 0.1 moved
$t resize-pane -t 0.0 -x 20
$t send-keys -t 0.0 'until stty size | grep 20; do sleep 0.1; done; echo two' Enter
screen 0.0 '^two'; $t list-panes -F '#{pane_index} #{pane_width}x#{pane_height} #{pane_dead}'
$t new-window -n second 'sleep 100'; $t list-windows -F '#I #W'
$t kill-server; until ! $t ls 2>/dev/null; do sleep 0.1; done; echo ended
"""

CMAKE = r"""
cat > CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.10)
project(x C)
enable_testing()
add_library(l SHARED l.c)
add_executable(main m.c)
target_link_libraries(main l m)
include(CheckFunctionExists)
check_function_exists(mremap HAVE_MREMAP)
add_test(NAME runs COMMAND main)
END
echo 'int f(void) { return 7; }' > l.c
printf '#include <stdio.h>\n#include <math.h>\nint f(void);\nint main(void) { printf("%%.3f\\n", sqrt(f())); }\n' > m.c
cmake -G Ninja -B b . | grep -v -e Detecting -e version -e '([0-9.]*s)$' | sed "s,$PWD,HERE,"
ninja -C b >log || cat log; b/main; ninja -C b | tail -n 1; (cd b; ctest 2>&1 | grep 'tests passed')
echo ' ' >> l.c; ninja -C b -n | grep -c C
"""

RUBY = r"""
cat > r.rb <<'END'
require "socket"; require "json"; require "tempfile"; require "open3"; require "digest"
puts (1..8).map { |i| Thread.new { (1..1000).sum * i } }.sum(&:value)
server = UNIXServer.new("s")
child = fork { c = UNIXSocket.new("s"); c.puts "hello"; c.close_write; puts c.read; exit! 3 }
c = server.accept; c.write c.read.reverse; c.close; Process.wait child; puts $?.exitstatus
puts Open3.capture2("sort", stdin_data: "b\na\n").first, JSON.generate("a" => [1, nil, 2.5])
puts Digest::SHA256.hexdigest("x")
f = Fiber.new { 3.times { |i| Fiber.yield i }; :done }; 4.times { p f.resume }
begin; Integer("z"); rescue ArgumentError => e; puts e.message; end
trap("USR1") { puts "signal" }; Process.kill "USR1", $$; sleep 0.01; GC.start; puts 2**200, "\u00e9t\u00e9".upcase
def deep(n) = deep(n + 1); begin; deep 0; rescue SystemStackError; puts "deep"; end
at_exit { puts "bye" }; abort "aborted"
END
ruby r.rb; echo $?
"""

VALGRIND = r"""
cat > v.c <<'END'
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void caught(int signal) { (void)signal; write(1, "Caught\n", 7); }
int main(void) {
    char *kept = malloc(40); signal(SIGUSR1, caught); raise(SIGUSR1);
    kept = malloc(10); if (kept[3]) puts("?"); kept[10] = 1; free(kept); return 5;
}
END
gcc -g -O0 v.c -o v; valgrind ./v 2>&1 | sed -n 's/^==[0-9]*== *//; s/0x[0-9A-F]*/ADDRESS/g; /^[A-Z]/p' |
    grep -e Invalid -e depends -e lost: -e ERROR -e Caught; valgrind -q --error-exitcode=9 ./v >/dev/null 2>&1; echo $?
"""
