/** The built-in notice templates, in the format of bounce_template_file (bounce(5)). */

export const DEFAULT_TEMPLATES = `failure_template = <<EOF
Charset: us-ascii
From: Mail Delivery System <MAILER-DAEMON>
Subject: Undelivered Mail Returned to Sender
Postmaster-Subject: Postmaster Copy: Undelivered Mail

This is the mail system at host $myhostname.

Your message did not reach the recipients named below. It is
returned to you together with this report.

The people who run this system can be reached as postmaster.

When you write to them, please send this report along. The text
of your own message is not needed for that.

                   The mail system
EOF

delay_template = <<EOF
Charset: us-ascii
From: Mail Delivery System <MAILER-DAEMON>
Subject: Delayed Mail (still being retried)
Postmaster-Subject: Postmaster Warning: Delayed Mail

This is the mail system at host $myhostname.

##################################################################
# THIS IS ONLY A WARNING. DO NOT SEND YOUR MESSAGE ANOTHER TIME. #
##################################################################

Your message has been waiting here for $delay_warning_time_hours hour(s) or more.
Delivery will be attempted until it is $maximal_queue_lifetime_days day(s) old.

The people who run this system can be reached as postmaster.

When you write to them, please send this report along. The text
of your own message is not needed for that.

                   The mail system
EOF

success_template = <<EOF
Charset: us-ascii
From: Mail Delivery System <MAILER-DAEMON>
Subject: Successful Mail Delivery Report

This is the mail system at host $myhostname.

Your message was delivered to the recipients listed below.
Where that was a mailbox, nothing more will be reported. Where
it was another mail system, that system may still report a
failure to you.

                   The mail system
EOF

verify_template = <<EOF
Charset: us-ascii
From: Mail Delivery System <MAILER-DAEMON>
Subject: Mail Delivery Status Report

This is the mail system at host $myhostname.

This is the delivery report that you asked for.

                   The mail system
EOF
`;
