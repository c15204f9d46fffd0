#!/bin/sh
# status.sh NUMBER: running, success or failed. Asks squeue only, which remembers finished jobs for MinJobAge seconds;
# a job that it does not know any more counts as failed, and a second look spares a job that is just being requeued.
# A queue that does not answer says nothing about the job: it runs until the queue says otherwise.
state() {
    said=$(squeue --noheader --jobs="$1" --states=all --format=%T 2>&1) && { echo "$said" | grep -m 1 -x '[A-Z_]*'; return; }
    case "$said" in *"Invalid job id"*) ;; *) echo RUNNING ;; esac
}

found=$(state "$1")
[ -n "$found" ] || { sleep 1 && found=$(state "$1"); }
case "$found" in
    COMPLETED) echo success ;;
    PENDING | CONFIGURING | RUNNING | COMPLETING | SUSPENDED | STOPPED | PREEMPTED | NODE_FAIL) echo running ;;
    REQUEUED | REQUEUE_HOLD | REQUEUE_FED | SPECIAL_EXIT | RESIZING | STAGE_OUT | SIGNALING) echo running ;;
    *) echo failed ;;
esac
