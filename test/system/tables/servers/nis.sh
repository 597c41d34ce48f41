#!/bin/sh
# Started by `unshare` in namespaces of its own: a NIS domain with two maps, then each line of the standard input as a command. DIR
set -e
D=$1
ip link set lo up
hostname nis.test
domainname test.nis
mount --make-rprivate /
mkdir -p "$D/yp/test.nis" "$D/yp/binding" "$D/run/rpcbind"
mount --bind "$D/yp" /var/yp
mount --bind "$D/run" /run
echo 'host 127.0.0.1' > /var/yp/securenets
echo 'domain test.nis server 127.0.0.1' > "$D/yp.conf"
mount --bind "$D/yp.conf" /etc/yp.conf
printf '%s\n' 'ann Ann <ann@store>' 'bob bob@store' | /usr/lib/yp/makedbm - /var/yp/test.nis/mail.aliases
printf '%s\n' 'ann@tables.test REJECT by NIS' | /usr/lib/yp/makedbm - /var/yp/test.nis/mail.access
rpcbind
ypserv
ypbind -no-ping
# each command's output, its exit status, and a line of its own
while read -r command; do
  set +e
  sh -c "$command" </dev/null 2>&1
  echo "status $?"
done
