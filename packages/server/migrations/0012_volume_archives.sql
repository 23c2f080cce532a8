-- What is in volumes can be taken out as an archive and put in from one: permissions of their own, which whoever may delete volumes gets, too.
update roles set permissions = permissions || '{volumes.read,volumes.write}' where 'volumes.delete' = any (permissions);
